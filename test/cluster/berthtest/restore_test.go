//go:build cluster

package berthtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/stage"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// TestClusterDatabaseRestored is guarantee 3 for etcd put back to a time before a
// claim had the volume: to the API server the volume is as good as new. The agents
// go on running, as they would.
func TestClusterDatabaseRestored(t *testing.T) {
	e := begin(t)
	pv := e.Disk("node-1", "restored", "ext4", 64<<20)
	snapshot := e.snapshot()
	w := stage.Writer(pv)
	e.RunPod(w)
	e.Until("the claim to be in the journal", func(ctx context.Context) error {
		out, err := e.C.Node("node-1").Exec(ctx, "sh", "-c", `grep -l '"Used"' $(grep -l `+pv.Name+` /var/lib/berth/volumes/*.json)`)
		if err == nil && strings.TrimSpace(out) == "" {
			err = errors.New("it is not")
		}
		return err
	})
	restarts, begun := e.Restarts("node-1"), time.Now()

	e.restore(snapshot)
	back := time.Now()
	e.Until("the volume to be withdrawn", func(ctx context.Context) error {
		now, err := e.C.Client().CoreV1().PersistentVolumes().Get(ctx, pv.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("it is %s in version %s, which was %s", now.Status.Phase, now.ResourceVersion, pv.ResourceVersion)
		}
		return err
	})
	t.Logf("the volume was withdrawn %.1f s after the API server's return", time.Since(back).Seconds())
	e.Event(begun, "PersistentVolume", pv.Name, "Quarantined", "the data is kept")
	if said, err := e.C.Node("node-1").Exec(e.Ctx, "cat", pv.Spec.Local.Path+"/a"); err != nil || strings.TrimSpace(said) != "secret" {
		t.Errorf("the tenant's data is %q (%v)", said, err)
	}
	// The next tenant gets a volume, another one, with nothing in it.
	next := workload.Pod{Name: "next", Script: "ls -A /next | grep -v lost+found; true", Claims: []workload.Claim{{Name: "next", Class: cluster.FastClass}}}
	if found := e.RunPod(next); found != "" {
		t.Errorf("the next tenant found %q", found)
	}
	if at, err := e.C.Client().CoreV1().PersistentVolumeClaims(e.Space.Name).Get(e.Ctx, "next", metav1.GetOptions{}); err != nil || at.Spec.VolumeName == pv.Name {
		t.Errorf("the next tenant has the volume %s (%v)", pv.Name, err)
	}
	if now := e.Restarts("node-1"); now != restarts {
		t.Errorf("the agent was %s, and is %s", restarts, now)
	}
}

// snapshot copies the cluster's database as it is now, and returns where to.
func (e *env) snapshot() string {
	e.Helper()
	etcd := e.processes("etcd")[0]
	e.Must(etcd.Signal(syscall.SIGSTOP)) // no file changes while it is copied
	to := filepath.Join(e.TempDir(), "etcd")
	err := os.CopyFS(to, os.DirFS(filepath.Join(e.C.Dir(), "etcd")))
	e.Must(errors.Join(err, etcd.Signal(syscall.SIGCONT)))
	return to
}

// restore puts a snapshot in the database's place and restarts all of Kubernetes
// that may remember what came after it, as its manual says. What keeps the
// processes running starts them again.
func (e *env) restore(snapshot string) {
	e.Helper()
	etcd := e.processes("etcd")[0]
	control := []*os.Process{etcd}
	for _, program := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		control = append(control, e.processes(program)...)
	}
	e.Must(etcd.Signal(syscall.SIGSTOP)) // so that nobody sees a database that is half there
	dir := filepath.Join(e.C.Dir(), "etcd")
	err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(snapshot)), os.Chmod(dir, 0o700))
	for _, p := range control {
		err = errors.Join(err, p.Kill())
	}
	e.Must(err)
	const kill = `for p in /proc/[0-9]*; do if [ "$(cat $p/comm)" = kubelet ]; then kill -9 ${p#/proc/}; fi; done`
	for _, node := range []string{"node-1", "node-2"} {
		_, err := e.C.Node(node).Exec(e.Ctx, "sh", "-c", kill)
		e.Must(err)
	}
	e.Until("the API server to answer", func(ctx context.Context) error {
		return e.C.Client().Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// processes finds this cluster's processes of a program among the machine's.
func (e *env) processes(program string) (found []*os.Process) {
	e.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	e.Must(err)
	for _, line := range lines {
		args, err := os.ReadFile(line)
		if err != nil {
			continue // it has ended
		}
		path, _, _ := bytes.Cut(args, []byte{0})
		if filepath.Base(string(path)) != program || !bytes.Contains(args, []byte(e.C.Dir()+"/")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(line)))
		e.Must(err)
		p, err := os.FindProcess(pid)
		e.Must(err)
		found = append(found, p)
	}
	if len(found) == 0 {
		e.Fatalf("found no %s", program)
	}
	return found
}
