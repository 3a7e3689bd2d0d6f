//go:build cluster

package berthtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/demo"
	"github.com/berth-storage/berth/test/cluster/pvwatch"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// The demo's story is checked line by line; its figures are not judged.
func TestClusterStory(t *testing.T) {
	e := begin(t)
	var out strings.Builder
	err := demo.Run(e.ctx, e.c, &out)
	t.Logf("\n%s", out.String())
	e.must(err)
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 100 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
	// Again, over what the first telling left.
	e.must(demo.Run(e.ctx, e.c, &out))
	for _, n := range []string{"node-1", "node-2"} {
		err := e.c.Node(n).RemoveDisk(e.ctx, "disk-late")
		if err == nil {
			e.absent(n, pathOf("disk-late", "ext4"))
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
			p, now := e.agent(node), int64(0)
			return e.c.Client().CoreV1().Pods(p.Namespace).Delete(e.ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		}},
		{"Killed", func(e *env, node string) error {
			_, err := e.c.Node(node).Exec(e.ctx, "sh", "-c", "kill -9 $(pgrep -x berth)")
			return err
		}},
	} {
		t.Run(end.name, func(t *testing.T) {
			e := begin(t)
			pv := e.disk("node-1", "fat-"+strings.ToLower(end.name), "xfs", 512<<20)
			e.runPod(workload.Pod{Name: "filler", Script: fill,
				Claims: []workload.Claim{{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}}})
			e.must(e.space.Delete(e.ctx))
			// From here on the agent may wipe; whether this ends it before, in or
			// after the wipe, the outcome must be the same.
			e.await("node-1", pv.Spec.Local.Path, "Released", func(pv *corev1.PersistentVolume) bool {
				return pv.Status.Phase == corev1.VolumeReleased
			})
			e.must(end.do(e, "node-1"))
			again := e.available("node-1", pv.Spec.Local.Path, pv.UID)
			t.Logf("the agent that came back: %s", e.said("node-1", "wiped and verified", pv.Name))
			e.nothingLeft(again)
		})
	}
}

// said is the last line of a node's agent with these texts; empty if it has
// none.
func (e *env) said(node string, texts ...string) (last string) {
	e.Helper()
	p := e.agent(node)
	log, err := e.c.Client().CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{}).DoRaw(e.ctx)
	e.must(err)
	for line := range strings.Lines(string(log)) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			last = strings.TrimSpace(line)
		}
	}
	return last
}

// After a power cut, a StatefulSet's pod comes back to its data, and the volume
// is the same object.
func TestClusterNodeRestarts(t *testing.T) {
	e := begin(t)
	pv := e.disk("node-2", "survivor", "ext4", 256<<20)
	e.must(e.space.CreateSet(e.ctx, 1, workload.Pod{
		Name:   "db",
		Claims: []workload.Claim{{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}},
		Script: `if [ -e /data/a ]; then echo read $(cat /data/a); else echo kept >/data/a; sync; echo wrote; fi
trap 'exit 0' TERM; while :; do sleep 0.2; done`,
	}))
	_, err := e.space.WaitSaid(e.ctx, "db-0", "wrote")
	e.must(err)
	e.must(e.c.Node("node-2").Restart(e.ctx))
	said, err := e.space.WaitSaid(e.ctx, "db-0", "read")
	e.must(err)
	if said != "kept" {
		t.Errorf("after the restart the pod read %q", said)
	}
	now := e.await("node-2", pv.Spec.Local.Path, "Bound", func(pv *corev1.PersistentVolume) bool {
		return pv.Status.Phase == corev1.VolumeBound
	})
	if now.UID != pv.UID {
		t.Error("the PersistentVolume was made anew")
	}
	e.agentsReady()
}

// agentsReady waits until every node has a ready agent.
func (e *env) agentsReady() {
	e.Helper()
	e.until("the agents to be ready", func(ctx context.Context) error {
		set, err := e.c.Client().AppsV1().DaemonSets(cluster.BerthNamespace).List(ctx, metav1.ListOptions{LabelSelector: agents})
		if err != nil {
			return err
		}
		for _, d := range set.Items {
			if s := d.Status; s.ObservedGeneration != d.Generation || s.NumberReady < s.DesiredNumberScheduled || s.UpdatedNumberScheduled < s.DesiredNumberScheduled {
				return fmt.Errorf("%d of %d are ready, %d up to date", s.NumberReady, s.DesiredNumberScheduled, s.UpdatedNumberScheduled)
			}
		}
		return nil
	})
}

// Uninstalled, Berth leaves volumes and data alone; installed again, it takes
// them up as they are.
func TestClusterUninstallKeepsVolumes(t *testing.T) {
	e := begin(t)
	pv := e.disk("node-1", "kept", "btrfs", 512<<20)
	claim := workload.Claim{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}
	e.runPod(workload.Pod{Name: "writer", Script: "echo kept >/data/a; sync", Claims: []workload.Claim{claim}})
	before := map[string]string{}
	for _, pv := range e.pvs.All() {
		before[pv.Name] = string(pv.UID)
	}
	begun := time.Now()
	e.must(e.c.UninstallBerth(e.ctx))
	e.must(e.space.CreatePod(e.ctx, workload.Pod{Name: "reader", Script: "cat /data/a", Claims: []workload.Claim{claim}}))
	if got := e.finishPod("reader"); got != "kept" {
		t.Errorf("without Berth, a pod read %q", got)
	}
	e.must(e.c.InstallBerth(e.ctx))
	e.agentsReady()
	// A disk that comes now is published after the agent has seen all others.
	e.disk("node-1", "after", "ext4", 256<<20)
	for _, pv := range e.pvs.All() {
		if uid, ok := before[pv.Name]; ok && uid != string(pv.UID) {
			t.Errorf("%s was made anew", pv.Name)
		}
		delete(before, pv.Name)
	}
	if len(before) > 0 {
		t.Errorf("PersistentVolumes that are gone: %v", before)
	}
	if s, ok := e.pvs.First(begun, func(s pvwatch.Seen) bool { return s.Gone }); ok {
		t.Errorf("%s was deleted meanwhile", s.PV.Name)
	}
	e.must(e.space.Empty(e.ctx))
	e.nothingLeft(e.available("node-1", pv.Spec.Local.Path, pv.UID))
}
