//go:build cluster

package it

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/clustertest"
	"github.com/berth-storage/berth/test/cluster/internal/cgroup"
	"github.com/berth-storage/berth/test/cluster/internal/link"
	"github.com/berth-storage/berth/test/cluster/internal/loop"
	"github.com/berth-storage/berth/test/cluster/internal/state"
)

// traces is what a cluster has on the machine at one moment, by names that
// belong to nobody else: other people may use the machine meanwhile.
type traces struct {
	dir        string
	record     *state.State
	processes  []state.Process
	namespaces map[string]bool // net:[…], mnt:[…], pid:[…]
}

// trace finds all processes of the cluster by their namespaces: every one of
// them is in the supervisor's PID namespace or in one below it.
func trace(t *testing.T, dir string) traces {
	t.Helper()
	record, err := state.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	tr := traces{dir: dir, record: record, namespaces: map[string]bool{}}
	links, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, l := range links {
		data, err := os.ReadFile(l)
		if err != nil || !bytes.Contains(data, []byte("/"+record.Cgroup)) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(l)))
		if p, err := state.Identify(pid); err == nil {
			tr.processes = append(tr.processes, p)
		}
		for _, kind := range []string{"net", "mnt", "pid"} {
			if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind)); err == nil {
				tr.namespaces[ns] = true
			}
		}
	}
	for _, kind := range []string{"net", "mnt", "pid"} {
		own, _ := os.Readlink("/proc/self/ns/" + kind)
		delete(tr.namespaces, own)
	}
	return tr
}

// gone says what is left of the cluster.
func (tr traces) gone() error {
	var left []error
	add := func(format string, args ...any) { left = append(left, fmt.Errorf(format, args...)) }
	for _, p := range append(tr.processes, tr.record.Supervisor) {
		if p.Alive() {
			add("process %d is left", p.PID)
		}
	}
	links, _ := filepath.Glob("/proc/[0-9]*/ns/*")
	for _, l := range links {
		ns, err := os.Readlink(l)
		if err != nil || !tr.namespaces[ns] {
			continue
		}
		// A zombie waits for the machine's own init, which takes its time.
		pid, _ := strconv.Atoi(strings.Split(l, "/")[2])
		if p, err := state.Identify(pid); err == nil && p.Alive() {
			add("%s is still %s", l, ns)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, tr.dir) {
			add("a mount is left: %s", line)
		}
		for ns := range tr.namespaces {
			if strings.Contains(line, ns) {
				add("a namespace is kept by a mount: %s", line)
			}
		}
	}
	if devices, err := loop.Under(tr.dir); err != nil || len(devices) > 0 {
		add("loop devices are left: %v, %v", devices, err)
	}
	if _, err := os.Stat("/sys/class/net/" + tr.record.Link); err == nil {
		add("the network device %s is left", tr.record.Link)
	}
	hs, err := cgroup.Hierarchies()
	if err != nil {
		return err
	}
	for _, h := range hs {
		if _, err := os.Stat(filepath.Join(h.Path, tr.record.Cgroup)); err == nil {
			add("a cgroup is left in %s", h.Path)
		}
	}
	if entries, err := os.ReadDir(tr.dir); !errors.Is(err, os.ErrNotExist) {
		add("the directory is left, with %v", entries)
	}
	return errors.Join(left...)
}

// up starts a cluster of one node by the command, as a person does, and returns
// the process.
func up(ctx context.Context, t *testing.T, program, dir string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.CommandContext(ctx, program, "up", "--dir", dir, "--nodes", "1", "--no-berth")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		if err := cluster.Down(dir); err != nil && !errors.Is(err, cluster.ErrNone) {
			t.Error(err)
		}
	})
	return cmd, &out
}

func TestDownLeavesNothing(t *testing.T) {
	ctx, c := clustertest.Get(t)
	dir := filepath.Join(t.TempDir(), "cluster")
	cmd, out := up(ctx, t, c.Program("cluster"), dir)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	other, err := cluster.Attach(filepath.Join(dir, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	runPod(ctx, t, other, "pod", "node-1", "exec sleep 1000000")
	// An immutable mount point, as an agent may leave it.
	if _, err := other.Node("node-1").Exec(ctx, "sh", "-c", "mkdir /mnt/disks/guarded && chattr +i /mnt/disks/guarded"); err != nil {
		t.Fatal(err)
	}
	tr := trace(t, dir)
	if len(tr.processes) < 8 || len(tr.namespaces) < 6 {
		t.Fatalf("the trace of a running cluster is thin: %+v", tr)
	}
	if tr.gone() == nil {
		t.Fatal("nothing is seen of a running cluster")
	}
	if err := other.Down(); err != nil {
		t.Fatal(err)
	}
	if err := tr.gone(); err != nil {
		t.Error(err)
	}
	if err := cluster.Down(dir); !errors.Is(err, cluster.ErrNone) {
		t.Errorf("a second down says %v", err)
	}
	// The shared cluster has seen nothing of it.
	if _, err := c.Kubectl(ctx, "get", "nodes"); err != nil {
		t.Error(err)
	}
}

// Whatever is killed, at whatever point of a start, down takes away the rest.
func TestDownAfterInterruption(t *testing.T) {
	ctx, c := clustertest.Get(t)
	recorded := func(s *state.State) bool { return s.Supervisor.PID != 0 }
	attached := func(s *state.State) bool {
		return len(s.Nodes) > 0 && len(s.Nodes[0].Disks) > 1 && s.Nodes[0].Disks[1].Loop != ""
	}
	for _, test := range []struct {
		name       string
		when       func(*state.State) bool
		supervisor bool // is killed, rather than the command
	}{
		{"command before the supervisor", func(*state.State) bool { return true }, false},
		{"command when the supervisor is recorded", recorded, false},
		{"command with disks attached", attached, false},
		{"supervisor when it is recorded", recorded, true},
		{"supervisor with disks attached", attached, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cluster")
			cmd, out := up(ctx, t, c.Program("cluster"), dir)
			clustertest.Eventually(t, time.Minute, func() error {
				s, err := state.Load(dir)
				if err == nil && !test.when(s) {
					err = errors.New("it is not that far yet")
				}
				return err
			})
			tr := trace(t, dir)
			victim := cmd.Process.Pid
			if test.supervisor {
				victim = tr.record.Supervisor.PID
			}
			if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Errorf("the start succeeded:\n%s", out)
			}
			if err := cluster.Down(dir); err != nil {
				t.Fatal(err)
			}
			if err := tr.gone(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A device of the cluster's name that somebody else made is left alone.
func TestDownKeepsOthersDevices(t *testing.T) {
	err := link.Remove("lo", "berth cluster 0")
	if err == nil {
		t.Fatal("the loopback device was removed")
	}
}
