//go:build cluster

package swaptest

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// database is a StatefulSet's pod that keeps a volume busy, and says what it
// finds there when it starts.
func database(pv *corev1.PersistentVolume) workload.Pod {
	return workload.Pod{
		Name:   "db",
		Claims: []workload.Claim{{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}},
		Script: `echo found $(cat /data/a 2>/dev/null); echo kept >/data/a; sync; echo wrote
trap 'exit 0' TERM; while :; do sleep 0.2; done`,
	}
}

// runs starts the database on a volume.
func (e *env) runs(pv *corev1.PersistentVolume) {
	e.Helper()
	e.Must(e.Space.CreateSet(e.Ctx, 1, database(pv)))
	_, err := e.Space.WaitSaid(e.Ctx, "db-0", "wrote")
	e.Must(err)
}

// running is what changes when the database's pod or container is another one.
func (e *env) running() string {
	e.Helper()
	p, err := e.C.Client().CoreV1().Pods(e.Space.Name).Get(e.Ctx, "db-0", metav1.GetOptions{})
	e.Must(err)
	if len(p.Status.ContainerStatuses) != 1 || p.Status.ContainerStatuses[0].State.Running == nil {
		e.Fatalf("the database does not run: %s", workload.Describe(p))
	}
	c := p.Status.ContainerStatuses[0]
	return fmt.Sprintf("pod %s, container %s since %s, restarted %d times", p.UID, c.ContainerID, c.State.Running.StartedAt, c.RestartCount)
}

// released waits for a volume to be Released; nobody must wipe it.
func (e *env) released(pv *corev1.PersistentVolume) {
	e.Helper()
	e.Await("node-1", pv.Spec.Local.Path, "Released", func(now *corev1.PersistentVolume) bool {
		return now.UID == pv.UID && now.Status.Phase == corev1.VolumeReleased
	})
}

// The established provisioner's manifests with Berth's image: its volumes stay as
// they are, pods go on, what is released is wiped and published anew. And when
// the agents start again, nothing is written.
func TestClusterSwap(t *testing.T) {
	e := begin(t)
	e.uninstall()
	released := e.old("node-1", "swap-released", "ext4", withUID)
	e.Release(released)
	e.released(released)
	bound := e.old("node-1", "swap-bound", "ext4", withUID)
	e.runs(bound)
	running := e.running()
	left := []*corev1.PersistentVolume{bound,
		e.old("node-1", "swap-free", "none", withUID),
		e.old("node-2", "swap-without", "ext4", withoutUID),
		e.old("node-2", "swap-earlier", "none", earlierUID),
	}
	before := e.versions()
	delete(before, released.UID)

	e.install(cluster.BerthImage)
	again := e.Available("node-1", released.Spec.Local.Path, released.UID)
	if again.Name != released.Name || again.Labels[api.LabelNode] != "node-1" || len(again.Finalizers) != len(released.Finalizers) {
		t.Errorf("the volume that was wiped is %s, with labels %v and finalizers %v", again.Name, again.Labels, again.Finalizers)
	}
	e.same(left...)
	e.unwritten(before)
	e.Says("node-1", "may not label PersistentVolumes")
	if now := e.running(); now != running {
		t.Errorf("the database was %s, and is %s", running, now)
	}
	e.NothingLeft(again)

	before = e.versions()
	e.restart()
	for _, node := range nodes {
		// Published after the new agent has seen all others.
		e.Disk(node, "swap-after", "ext4", bytes)
	}
	e.unwritten(before)
	if now := e.running(); now != running {
		t.Errorf("the database was %s, and is %s", running, now)
	}

	e.Must(e.Space.Empty(e.Ctx))
	e.NothingLeft(e.Available("node-1", bound.Spec.Local.Path, bound.UID))
}

// restart replaces the agents, as `kubectl rollout restart` does.
func (e *env) restart() {
	e.Helper()
	_, err := e.C.Kubectl(e.Ctx, "-n", namespace, "rollout", "restart", "daemonset/"+daemonSet)
	e.Must(err)
	e.AgentsReady()
	e.ready()
}
