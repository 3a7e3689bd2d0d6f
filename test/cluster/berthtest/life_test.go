//go:build cluster

package berthtest

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/test/cluster/demo"
	"github.com/berth-storage/berth/test/cluster/pvwatch"
	"github.com/berth-storage/berth/test/cluster/stage"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// The demo's story is checked line by line; its figures are not judged.
func TestClusterStory(t *testing.T) {
	e := begin(t)
	var out strings.Builder
	err := demo.Run(e.Ctx, e.C, &out)
	t.Logf("\n%s", out.String())
	e.Must(err)
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 100 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
	// Again, over what the first telling left.
	e.Must(demo.Run(e.Ctx, e.C, &out))
	for _, n := range []string{"node-1", "node-2"} {
		err := e.C.Node(n).RemoveDisk(e.Ctx, "disk-late")
		if err == nil {
			e.Absent(n, stage.PathOf("disk-late", "ext4"))
		}
	}
}

// fill writes so many files that a wipe takes a while, then says so and stays.
const fill = `cd /data && for d in $(seq 40); do mkdir $d && (cd $d && seq 1000 | xargs touch) || exit 1; done
echo secret >secret; sync; echo filled`

// An agent that ends during a wipe goes on with it when it is back.
func TestClusterAgentEndsDuringWipe(t *testing.T) {
	for _, end := range []struct {
		name string
		do   func(e *env, node string) error
	}{
		{"Deleted", func(e *env, node string) error {
			p, now := e.Agent(node), int64(0)
			return e.C.Client().CoreV1().Pods(p.Namespace).Delete(e.Ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		}},
		{"Killed", func(e *env, node string) error {
			_, err := e.C.Node(node).Exec(e.Ctx, "sh", "-c", "kill -9 $(pgrep -x berth)")
			return err
		}},
	} {
		t.Run(end.name, func(t *testing.T) {
			e := begin(t)
			pv := e.Disk("node-1", "fat-"+strings.ToLower(end.name), "xfs", 512<<20)
			e.RunPod(workload.Pod{Name: "filler", Script: fill,
				Claims: []workload.Claim{{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}}})
			e.Must(e.Space.Delete(e.Ctx))
			// From here on the agent may wipe; whether this ends it before, in or
			// after the wipe, the outcome must be the same.
			e.Await("node-1", pv.Spec.Local.Path, "Released", func(pv *corev1.PersistentVolume) bool {
				return pv.Status.Phase == corev1.VolumeReleased
			})
			e.Must(end.do(e, "node-1"))
			again := e.Available("node-1", pv.Spec.Local.Path, pv.UID)
			t.Logf("the agent that came back: %s", e.Said("node-1", "wiped and verified", pv.Name))
			e.NothingLeft(again)
		})
	}
}

// After a power cut, a StatefulSet's pod comes back to its data, and the volume
// is the same object.
func TestClusterNodeRestarts(t *testing.T) {
	e := begin(t)
	pv := e.Disk("node-2", "survivor", "ext4", 256<<20)
	e.Must(e.Space.CreateSet(e.Ctx, 1, workload.Pod{
		Name:   "db",
		Claims: []workload.Claim{{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}},
		Script: `if [ -e /data/a ]; then echo read $(cat /data/a); else echo kept >/data/a; sync; echo wrote; fi
trap 'exit 0' TERM; while :; do sleep 0.2; done`,
	}))
	_, err := e.Space.WaitSaid(e.Ctx, "db-0", "wrote")
	e.Must(err)
	e.Must(e.C.Node("node-2").Restart(e.Ctx))
	said, err := e.Space.WaitSaid(e.Ctx, "db-0", "read")
	e.Must(err)
	if said != "kept" {
		t.Errorf("after the restart the pod read %q", said)
	}
	now := e.Await("node-2", pv.Spec.Local.Path, "Bound", func(pv *corev1.PersistentVolume) bool {
		return pv.Status.Phase == corev1.VolumeBound
	})
	if now.UID != pv.UID {
		t.Error("the PersistentVolume was made anew")
	}
	e.AgentsReady()
}

// Uninstalled, Berth leaves volumes and data alone; installed again, it takes
// them up as they are.
func TestClusterUninstallKeepsVolumes(t *testing.T) {
	e := begin(t)
	pv := e.Disk("node-1", "kept", "btrfs", 512<<20)
	claim := workload.Claim{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}
	e.RunPod(workload.Pod{Name: "writer", Script: "echo kept >/data/a; sync", Claims: []workload.Claim{claim}})
	before := map[string]string{}
	for _, pv := range e.PVs.All() {
		before[pv.Name] = string(pv.UID)
	}
	begun := time.Now()
	e.Must(e.C.UninstallBerth(e.Ctx))
	e.Must(e.Space.CreatePod(e.Ctx, workload.Pod{Name: "reader", Script: "cat /data/a", Claims: []workload.Claim{claim}}))
	if got := e.FinishPod("reader"); got != "kept" {
		t.Errorf("without Berth, a pod read %q", got)
	}
	e.Must(e.C.InstallBerth(e.Ctx))
	e.AgentsReady()
	// A disk that comes now is published after the agent has seen all others.
	e.Disk("node-1", "after", "ext4", 256<<20)
	for _, pv := range e.PVs.All() {
		if uid, ok := before[pv.Name]; ok && uid != string(pv.UID) {
			t.Errorf("%s was made anew", pv.Name)
		}
		delete(before, pv.Name)
	}
	if len(before) > 0 {
		t.Errorf("PersistentVolumes that are gone: %v", before)
	}
	if s, ok := e.PVs.First(begun, func(s pvwatch.Seen) bool { return s.Gone }); ok {
		t.Errorf("%s was deleted meanwhile", s.PV.Name)
	}
	e.Must(e.Space.Empty(e.Ctx))
	e.NothingLeft(e.Available("node-1", pv.Spec.Local.Path, pv.UID))
}
