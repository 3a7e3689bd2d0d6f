//go:build cluster

package berthtest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/berth-storage/berth/test/cluster"
)

// outage is longer than the agent's requests wait for an answer, and shorter
// than Kubernetes waits before it takes the nodes for lost.
const outage = 30 * time.Second

// With the API server hung, disks come and go. When it answers again, all that
// is caught up, by the same agents.
func TestClusterAPIServerAway(t *testing.T) {
	e := begin(t)
	_, _, err := e.c.Node("node-1").AddDisk(e.ctx, cluster.Disk{Name: "leaves", FS: "ext4", Bytes: 64 << 20})
	e.must(err)
	e.available("node-1", pathOf("leaves", "ext4"), "")
	before := e.restarts("node-1")

	server := e.apiServer()
	e.must(server.Signal(syscall.SIGSTOP))
	goOn := func() { e.must(server.Signal(syscall.SIGCONT)) }
	t.Cleanup(goOn)
	// The supervisor adds disks without the API server.
	e.must(e.c.Node("node-1").RemoveDisk(e.ctx, "leaves"))
	_, _, err = e.c.Node("node-1").AddDisk(e.ctx, cluster.Disk{Name: "comes", FS: "xfs", Bytes: 512 << 20})
	e.must(err)
	t.Cleanup(func() { e.must(e.c.Node("node-1").RemoveDisk(context.Background(), "comes")) })
	select {
	case <-time.After(outage):
	case <-e.ctx.Done():
		t.Fatal(e.ctx.Err())
	}
	goOn()
	back := time.Now()
	e.available("node-1", pathOf("comes", "xfs"), "")
	e.absent("node-1", pathOf("leaves", "ext4"))
	t.Logf("all was caught up %.1f s after the API server's return", time.Since(back).Seconds())
	if after := e.restarts("node-1"); after != before {
		t.Errorf("the agent was %s, and is %s", before, after)
	}
}

// apiServer finds this cluster's API server among the machine's processes.
func (e *env) apiServer() *os.Process {
	e.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	e.must(err)
	for _, line := range lines {
		args, err := os.ReadFile(line)
		if err != nil {
			continue // it has ended
		}
		program, _, _ := bytes.Cut(args, []byte{0})
		if filepath.Base(string(program)) != "kube-apiserver" || !bytes.Contains(args, []byte(e.c.Dir()+"/")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(line)))
		e.must(err)
		p, err := os.FindProcess(pid)
		e.must(err)
		return p
	}
	e.Fatal("found no API server")
	return nil
}
