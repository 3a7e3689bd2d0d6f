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

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/stage"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// A PersistentVolume that a person deletes while a claim has it stays until the
// claim is gone, and is wiped then.
func TestClusterPVDeletedWhileBound(t *testing.T) {
	e := begin(t)
	pv := e.Disk("node-2", "deleted", "ext4", 256<<20)
	claim := workload.Claim{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}
	e.RunPod(workload.Pod{Name: "writer", Script: "echo secret >/data/a; sync", Claims: []workload.Claim{claim}})
	e.Must(e.C.Client().CoreV1().PersistentVolumes().Delete(e.Ctx, pv.Name, metav1.DeleteOptions{}))
	e.Must(e.Space.CreatePod(e.Ctx, workload.Pod{Name: "reader", Script: "cat /data/a", Claims: []workload.Claim{claim}}))
	if got := e.FinishPod("reader"); got != "secret" {
		t.Errorf("the claim's own pod read %q", got)
	}
	e.Must(e.Space.Empty(e.Ctx))
	e.NothingLeft(e.Available("node-2", pv.Spec.Local.Path, pv.UID))
}

// A PersistentVolume that is forced away, finalizers and all, while its data is
// not wiped: the disk is held back, and nobody is given it.
func TestClusterPVForcedAway(t *testing.T) {
	for _, fs := range []string{"xfs", "none"} {
		t.Run(fs, func(t *testing.T) {
			e := begin(t)
			// A new name each time: the disk stays held back, also if it is made anew.
			name := fmt.Sprintf("forced-%s-%d", fs, time.Now().Unix())
			pv := e.Disk("node-2", name, fs, 512<<20)
			claim := workload.Claim{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}
			script := "echo secret >/data/a; sync"
			if fs == "none" {
				claim.Block, script = true, "echo secret >/dev/data"
			}
			e.RunPod(workload.Pod{Name: "writer", Script: script, Claims: []workload.Claim{claim}})
			e.Must(e.C.Client().CoreV1().PersistentVolumes().Delete(e.Ctx, pv.Name, metav1.DeleteOptions{}))
			_, err := e.C.Client().CoreV1().PersistentVolumes().Patch(e.Ctx, pv.Name, types.MergePatchType,
				[]byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
			e.Must(err)
			e.Absent("node-2", pv.Spec.Local.Path)
			e.HeldBack("node-2", pv)
			e.Must(e.Space.Empty(e.Ctx))
			// An agent that starts anew must not take it for a new disk either.
			_, err = e.C.Node("node-2").Exec(e.Ctx, "sh", "-c", "kill -9 $(pgrep -x berth)")
			e.Must(err)
			e.Disk("node-2", "seen-"+fs, "ext4", 256<<20) // published by the new agent, after it saw all others
			e.HeldBack("node-2", pv)
			e.Absent("node-2", pv.Spec.Local.Path)
		})
	}
}

// editConfig changes the agents' configuration as a person does who edits the
// ConfigMap, and undoes it at the end of the test.
func (e *env) editConfig(edit func(string) string) {
	e.Helper()
	maps := e.C.Client().CoreV1().ConfigMaps(cluster.BerthNamespace)
	all, err := maps.List(e.Ctx, metav1.ListOptions{LabelSelector: agents})
	e.Must(err)
	if len(all.Items) != 1 {
		e.Fatalf("there are %d ConfigMaps of the agent", len(all.Items))
	}
	m := all.Items[0]
	m.Data["agent.yaml"] = edit(m.Data["agent.yaml"])
	_, err = maps.Update(e.Ctx, &m, metav1.UpdateOptions{})
	e.Must(err)
	e.Nudge(e.Ctx)
}

// A bad edit of the configuration is refused and changes nothing; a good one
// takes effect; neither restarts an agent.
func TestClusterConfigEdited(t *testing.T) {
	e := begin(t)
	restarts, begun := e.Restarts("node-1"), time.Now()
	original := ""
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stage.Patience)
		defer cancel()
		e.Ctx = ctx
		e.editConfig(func(string) string { return original })
	})
	e.editConfig(func(s string) string {
		original = s
		return s + "\nclases: []\n"
	})
	e.Event(begun, "Node", "node-1", "ConfigRefused", "clases")
	e.Event(begun, "Node", "node-1", "ConfigRefused", "/etc/berth/agent.yaml:")
	e.Disk("node-1", "under-the-old", "ext4", 256<<20)

	e.editConfig(func(string) string { return original + "\nlabels: {team: storage}\n" })
	e.Until("the good configuration to be in force", func(context.Context) error {
		if e.Said("node-1", "over: the configuration is refused") < e.Said("node-1", "clases", " WARN ") {
			return errors.New("the agent does not say so")
		}
		return nil
	})
	pv := e.Disk("node-1", "under-the-new", "ext4", 256<<20)
	if pv.Labels["team"] != "storage" {
		t.Errorf("labels of a volume published since: %v", pv.Labels)
	}
	if now := e.Restarts("node-1"); now != restarts {
		t.Errorf("the agent has restarted: %s, was %s", now, restarts)
	}
}

// A read-only class publishes what others put there, and keeps it. While its disk
// is gone under a claim, the node has the taint that the class asks for.
func TestClusterReadOnlyClass(t *testing.T) {
	e := begin(t)
	node := e.C.Node("node-1")
	_, err := node.Exec(e.Ctx, "sh", "-ec", `mkdir -p /mnt/datasets/set && truncate -s 64M /var/lib/set.img && mkfs.ext4 -q /var/lib/set.img
mount -o loop /var/lib/set.img /mnt/datasets/set && echo trained >/mnt/datasets/set/a`)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*stage.Patience)
		defer cancel()
		if err := errors.Join(e.Space.Empty(ctx), e.C.InstallBerth(ctx)); err != nil {
			t.Error(err)
		}
		if _, err := node.Exec(ctx, "sh", "-c", "umount /mnt/datasets/set 2>/dev/null; rm -rf /var/lib/set.img /mnt/datasets/set"); err != nil {
			t.Error(err)
		}
	})
	e.Must(err)
	values := filepath.Join(t.TempDir(), "values.yaml")
	e.Must(os.WriteFile(values, []byte(`classes:
  - {name: fast, hostDir: /mnt/disks}
  - {name: raw, hostDir: /mnt/blocks, volumeMode: Block}
  - {name: datasets, hostDir: /mnt/datasets, readOnly: true, whenGone: TaintNode}
`), 0o644))
	e.Must(e.C.InstallBerth(e.Ctx, "--values", values))
	pv := e.Available("node-1", "/mnt/datasets/set", "")
	if len(pv.Spec.AccessModes) != 1 || pv.Spec.AccessModes[0] != corev1.ReadOnlyMany {
		t.Errorf("access modes %v", pv.Spec.AccessModes)
	}
	claim := workload.Claim{Name: "set", Class: "datasets", Mode: "ReadOnlyMany", PV: pv.Name}
	const script = "cat /set/a; touch /set/b 2>/dev/null && echo wrote"
	pod := workload.Pod{Name: "trainer", Script: script + "; true", Claims: []workload.Claim{claim}}
	if got := e.RunPod(pod); got != "trained" {
		t.Errorf("the pod said %q", got)
	}
	e.NoPods()
	_, err = node.Exec(e.Ctx, "umount", "/mnt/datasets/set")
	e.Must(err)
	e.Tainted("node-1", api.TaintDiskGone, true)
	_, err = node.Exec(e.Ctx, "mount", "-o", "loop", "/var/lib/set.img", "/mnt/datasets/set")
	e.Must(err)
	e.Tainted("node-1", api.TaintDiskGone, false)
	e.Must(e.Space.Empty(e.Ctx))
	again := e.Available("node-1", "/mnt/datasets/set", pv.UID)
	claim.PV = again.Name
	pod.Name, pod.Claims = "next", []workload.Claim{claim}
	if got := e.RunPod(pod); got != "trained" {
		t.Errorf("after the release the next pod said %q", got)
	}
	// While the class is there: without it, nobody takes the volume away. And once
	// it is released: what a claim had waits for its disk.
	e.Must(e.Space.Empty(e.Ctx))
	e.Available("node-1", "/mnt/datasets/set", again.UID)
	_, err = node.Exec(e.Ctx, "umount", "/mnt/datasets/set")
	e.Must(err)
	e.Absent("node-1", "/mnt/datasets/set")
}
