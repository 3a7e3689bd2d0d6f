//go:build cluster

package berthtest

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/stage"
)

// outage is longer than the agent's requests wait for an answer, and shorter
// than Kubernetes waits before it takes the nodes for lost.
const outage = 30 * time.Second

// With the API server hung, disks come and go. When it answers again, all that
// is caught up, by the same agents.
func TestClusterAPIServerAway(t *testing.T) {
	e := begin(t)
	_, _, err := e.C.Node("node-1").AddDisk(e.Ctx, cluster.Disk{Name: "leaves", FS: "ext4", Bytes: 64 << 20})
	e.Must(err)
	e.Available("node-1", stage.PathOf("leaves", "ext4"), "")
	before := e.Restarts("node-1")

	server := e.processes("kube-apiserver")[0]
	e.Must(server.Signal(syscall.SIGSTOP))
	goOn := func() { e.Must(server.Signal(syscall.SIGCONT)) }
	t.Cleanup(goOn)
	// The supervisor adds disks without the API server.
	e.Must(e.C.Node("node-1").RemoveDisk(e.Ctx, "leaves"))
	_, _, err = e.C.Node("node-1").AddDisk(e.Ctx, cluster.Disk{Name: "comes", FS: "xfs", Bytes: 512 << 20})
	e.Must(err)
	t.Cleanup(func() { e.Must(e.C.Node("node-1").RemoveDisk(context.Background(), "comes")) })
	select {
	case <-time.After(outage):
	case <-e.Ctx.Done():
		t.Fatal(e.Ctx.Err())
	}
	goOn()
	back := time.Now()
	e.Available("node-1", stage.PathOf("comes", "xfs"), "")
	e.Absent("node-1", stage.PathOf("leaves", "ext4"))
	t.Logf("all was caught up %.1f s after the API server's return", time.Since(back).Seconds())
	if after := e.Restarts("node-1"); after != before {
		t.Errorf("the agent was %s, and is %s", before, after)
	}
}
