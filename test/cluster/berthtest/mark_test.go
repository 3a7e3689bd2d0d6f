//go:build cluster

package berthtest

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/test/cluster/stage"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// The journal of a used volume and its PersistentVolume are lost together, so
// that nothing but the disk tells of its tenant: it is held back, and says whose
// it was.
func TestClusterJournalAndPVLost(t *testing.T) {
	e := begin(t)
	const name = "forgotten"
	pv := e.Disk("node-2", name, "xfs", 512<<20)
	claim := workload.Claim{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}
	e.RunPod(workload.Pod{Name: "writer", Script: "echo secret >/data/a; sync", Claims: []workload.Claim{claim}})
	node := e.C.Node("node-2")
	exec := func(script string) string {
		t.Helper()
		out, err := node.Exec(e.Ctx, "sh", "-e", "-c", script)
		e.Must(err)
		return strings.TrimSpace(out)
	}
	record := exec(`kill -STOP $(pgrep -x berth); grep -l '"entry": "` + name + `"' /var/lib/berth/volumes/*.json`)
	pvs := e.C.Client().CoreV1().PersistentVolumes()
	e.Must(pvs.Delete(e.Ctx, pv.Name, metav1.DeleteOptions{}))
	_, err := pvs.Patch(e.Ctx, pv.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	e.Must(err)
	exec("rm " + record + "; kill -KILL $(pgrep -x berth)")
	e.Must(e.Space.Empty(e.Ctx))
	e.Says("node-2", "Quarantined", "its mark says that node node-2 handed it out as PV "+pv.Name)
	e.Absent("node-2", pv.Spec.Local.Path)
	if got := exec("cat " + stage.PathOf(name, "xfs") + "/a; test -e " + record); got != "secret" {
		t.Errorf("the disk has %q", got)
	}
}
