//go:build cluster

package berthtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// A PersistentVolume that a person deletes while a claim has it stays until the
// claim is gone, and is wiped then.
func TestClusterPVDeletedWhileBound(t *testing.T) {
	e := begin(t)
	pv := e.disk("node-2", "deleted", "ext4", 256<<20)
	claim := workload.Claim{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}
	e.runPod(workload.Pod{Name: "writer", Script: "echo secret >/data/a; sync", Claims: []workload.Claim{claim}})
	e.must(e.c.Client().CoreV1().PersistentVolumes().Delete(e.ctx, pv.Name, metav1.DeleteOptions{}))
	e.must(e.space.CreatePod(e.ctx, workload.Pod{Name: "reader", Script: "cat /data/a", Claims: []workload.Claim{claim}}))
	if got := e.finishPod("reader"); got != "secret" {
		t.Errorf("the claim's own pod read %q", got)
	}
	e.must(e.space.Empty(e.ctx))
	e.nothingLeft(e.available("node-2", pv.Spec.Local.Path, pv.UID))
}

// A PersistentVolume that is forced away, finalizers and all, while its data is
// not wiped: the disk is held back, and nobody is given it.
func TestClusterPVForcedAway(t *testing.T) {
	for _, fs := range []string{"xfs", "none"} {
		t.Run(fs, func(t *testing.T) {
			e := begin(t)
			// A new name each time: the disk stays held back, also if it is made anew.
			name := fmt.Sprintf("forced-%s-%d", fs, time.Now().Unix())
			pv := e.disk("node-2", name, fs, 512<<20)
			claim := workload.Claim{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}
			script := "echo secret >/data/a; sync"
			if fs == "none" {
				claim.Block, script = true, "echo secret >/dev/data"
			}
			e.runPod(workload.Pod{Name: "writer", Script: script, Claims: []workload.Claim{claim}})
			e.must(e.c.Client().CoreV1().PersistentVolumes().Delete(e.ctx, pv.Name, metav1.DeleteOptions{}))
			_, err := e.c.Client().CoreV1().PersistentVolumes().Patch(e.ctx, pv.Name, types.MergePatchType,
				[]byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
			e.must(err)
			e.absent("node-2", pv.Spec.Local.Path)
			e.heldBack("node-2", pv)
			e.must(e.space.Empty(e.ctx))
			// An agent that starts anew must not take it for a new disk either.
			_, err = e.c.Node("node-2").Exec(e.ctx, "sh", "-c", "kill -9 $(pgrep -x berth)")
			e.must(err)
			e.disk("node-2", "seen-"+fs, "ext4", 256<<20) // published by the new agent, after it saw all others
			e.heldBack("node-2", pv)
			e.absent("node-2", pv.Spec.Local.Path)
		})
	}
}

// heldBack waits until the agent says that it holds a volume back.
func (e *env) heldBack(node string, pv *corev1.PersistentVolume) {
	e.Helper()
	e.until("the agent to hold "+pv.Name+" back", func(context.Context) error {
		if e.said(node, "reason=Quarantined", pv.Name) == "" {
			return errors.New("its log has no line about it")
		}
		return nil
	})
}

// editConfig changes the agents' configuration as a person does who edits the
// ConfigMap, and undoes it at the end of the test.
func (e *env) editConfig(edit func(string) string) {
	e.Helper()
	maps := e.c.Client().CoreV1().ConfigMaps(cluster.BerthNamespace)
	all, err := maps.List(e.ctx, metav1.ListOptions{LabelSelector: agents})
	e.must(err)
	if len(all.Items) != 1 {
		e.Fatalf("there are %d ConfigMaps of the agent", len(all.Items))
	}
	m := all.Items[0]
	m.Data["agent.yaml"] = edit(m.Data["agent.yaml"])
	_, err = maps.Update(e.ctx, &m, metav1.UpdateOptions{})
	e.must(err)
	e.nudge(e.ctx)
}

// nudge makes the kubelets look at the agents' pods, and with them at their
// ConfigMap, now and not within the next minute.
func (e *env) nudge(ctx context.Context) {
	for _, p := range e.agentPods(ctx) {
		_, err := e.c.Client().CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.MergePatchType,
			fmt.Appendf(nil, `{"metadata":{"annotations":{"nudged":"%d"}}}`, time.Now().UnixNano()), metav1.PatchOptions{})
		if err != nil {
			e.Errorf("nudging %s: %v", p.Name, err)
		}
	}
}

// A bad edit of the configuration is refused and changes nothing; a good one
// takes effect; neither restarts an agent.
func TestClusterConfigEdited(t *testing.T) {
	e := begin(t)
	restarts, begun := e.restarts("node-1"), time.Now()
	original := ""
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		e.ctx = ctx
		e.editConfig(func(string) string { return original })
	})
	e.editConfig(func(s string) string {
		original = s
		return s + "\nclases: []\n"
	})
	e.event(begun, "Node", "node-1", "ConfigRefused", "clases")
	e.event(begun, "Node", "node-1", "ConfigRefused", "/etc/berth/agent.yaml:")
	e.disk("node-1", "under-the-old", "ext4", 256<<20)

	e.editConfig(func(string) string { return original + "\nlabels: {team: storage}\n" })
	e.until("the good configuration to be in force", func(context.Context) error {
		if e.said("node-1", "over: the configuration is refused") < e.said("node-1", "clases", " WARN ") {
			return errors.New("the agent does not say so")
		}
		return nil
	})
	pv := e.disk("node-1", "under-the-new", "ext4", 256<<20)
	if pv.Labels["team"] != "storage" {
		t.Errorf("labels of a volume published since: %v", pv.Labels)
	}
	if now := e.restarts("node-1"); now != restarts {
		t.Errorf("the agent has restarted: %s, was %s", now, restarts)
	}
}

// A read-only class publishes what others put there, and keeps it.
func TestClusterReadOnlyClass(t *testing.T) {
	e := begin(t)
	node := e.c.Node("node-1")
	_, err := node.Exec(e.ctx, "sh", "-ec", `mkdir -p /mnt/datasets/set && truncate -s 64M /var/lib/set.img && mkfs.ext4 -q /var/lib/set.img
mount -o loop /var/lib/set.img /mnt/datasets/set && echo trained >/mnt/datasets/set/a`)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		if err := errors.Join(e.space.Empty(ctx), e.c.InstallBerth(ctx)); err != nil {
			t.Error(err)
		}
		if _, err := node.Exec(ctx, "sh", "-c", "umount /mnt/datasets/set 2>/dev/null; rm -rf /var/lib/set.img /mnt/datasets/set"); err != nil {
			t.Error(err)
		}
	})
	e.must(err)
	values := filepath.Join(t.TempDir(), "values.yaml")
	e.must(os.WriteFile(values, []byte(`classes:
  - {name: fast, hostDir: /mnt/disks}
  - {name: raw, hostDir: /mnt/blocks, volumeMode: Block}
  - {name: datasets, hostDir: /mnt/datasets, readOnly: true}
`), 0o644))
	e.must(e.c.InstallBerth(e.ctx, "--values", values))
	pv := e.available("node-1", "/mnt/datasets/set", "")
	if len(pv.Spec.AccessModes) != 1 || pv.Spec.AccessModes[0] != corev1.ReadOnlyMany {
		t.Errorf("access modes %v", pv.Spec.AccessModes)
	}
	claim := workload.Claim{Name: "set", Class: "datasets", Mode: "ReadOnlyMany", PV: pv.Name}
	const script = "cat /set/a; touch /set/b 2>/dev/null && echo wrote"
	pod := workload.Pod{Name: "trainer", Script: script + "; true", Claims: []workload.Claim{claim}}
	if got := e.runPod(pod); got != "trained" {
		t.Errorf("the pod said %q", got)
	}
	e.must(e.space.Empty(e.ctx))
	again := e.available("node-1", "/mnt/datasets/set", pv.UID)
	claim.PV = again.Name
	pod.Name, pod.Claims = "next", []workload.Claim{claim}
	if got := e.runPod(pod); got != "trained" {
		t.Errorf("after the release the next pod said %q", got)
	}
	// While the class is there: without it, nobody takes the volume away.
	e.must(e.space.Empty(e.ctx))
	_, err = node.Exec(e.ctx, "umount", "/mnt/datasets/set")
	e.must(err)
	e.absent("node-1", "/mnt/datasets/set")
}
