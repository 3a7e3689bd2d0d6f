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
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// TestClusterCarvedRetain: with the policy Retain a volume outlives its claim, says
// whose it was, and can be given to a new one. Its space is back once a person has
// changed the policy.
func TestClusterCarvedRetain(t *testing.T) {
	e := beginCarved(t)
	const class = "carved-retained"
	policy := corev1.PersistentVolumeReclaimRetain
	e.class(class, func(c *storagev1.StorageClass) { c.ReclaimPolicy = &policy })
	w, pv := e.write(class)
	// Else a failed test would leave a volume that nobody wipes.
	e.Cleanup(func() { e.patch(pv.Name, `{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`) })
	e.Must(e.Space.Drop(e.Ctx, w))
	e.released(pv.Name)
	shown, err := e.C.Kubectl(e.Ctx, "get", "pv", pv.Name)
	e.Must(err)
	for _, word := range []string{"Retain", "Released", e.Space.Name + "/data"} {
		if !strings.Contains(shown, word) {
			t.Errorf("kubectl get pv does not show %s:\n%s", word, shown)
		}
	}

	// As a person does who knows whose it was.
	e.patch(pv.Name, `{"spec":{"claimRef":{"uid":null,"resourceVersion":null}}}`)
	w.Claims[0].PV = pv.Name
	e.reads(w.Claims[0])
	e.Must(e.Space.Empty(e.Ctx))
	e.released(pv.Name)
	e.promised(e.nodeOf(pv), 32*mib)
	e.patch(pv.Name, `{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`)
}

// TestClusterCarvedPVForcedAway: a volume whose PersistentVolume was taken away by
// force is kept, its agent says whose it was, and a person gives it back to a claim
// of that name.
func TestClusterCarvedPVForcedAway(t *testing.T) {
	e := beginCarved(t)
	w, pv := e.write(cluster.PoolClass)
	begun, node, pvs := time.Now(), e.nodeOf(pv), e.C.Client().CoreV1().PersistentVolumes()
	e.Must(pvs.Delete(e.Ctx, pv.Name, metav1.DeleteOptions{}))
	e.patch(pv.Name, `{"metadata":{"finalizers":null}}`)
	var held record
	e.Until("the volume to be held back", func(ctx context.Context) error {
		records, err := e.records(ctx, node)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(records, func(r record) bool { return r.Entry == pv.Name })
		if i < 0 || records[i].State != "Quarantined" {
			return fmt.Errorf("the journal has %v", records)
		}
		held = records[i]
		return nil
	})
	t.Logf("%s", held.Reason)
	if held.Claim != e.Space.Name+"/data" {
		t.Errorf("it was of claim %q", held.Claim)
	}
	e.Event(begun, "PersistentVolumeClaim", "data", api.ReasonQuarantined, pv.Name)
	e.Must(e.Space.Drop(e.Ctx, w))
	said, err := e.berth(e.Ctx, node, "volume", "republish", "--yes", held.ID)
	e.Must(err)
	t.Logf("\n%s", said)
	e.pv(pv.Name, "given back", func(now *corev1.PersistentVolume) bool { return now.UID != pv.UID })
	e.reads(w.Claims[0])
	if c := e.claim("data"); c.Spec.VolumeName != pv.Name {
		t.Errorf("the new claim has %s", c.Spec.VolumeName)
	}
}

// write has a pod write something to a new volume, and returns what it was made
// of, and the volume, which nothing has mounted any more.
func (e *carvedEnv) write(class string) (workload.Pod, *corev1.PersistentVolume) {
	e.Helper()
	w := workload.Pod{Name: "writer", Script: "echo secret >/data/a; sync", Claims: []workload.Claim{{Name: "data", Class: class, Bytes: 32 * mib}}}
	e.RunPod(w)
	e.NoPods()
	return w, e.pv(e.claim("data").Spec.VolumeName, "bound", func(pv *corev1.PersistentVolume) bool { return pv.Status.Phase == corev1.VolumeBound })
}

// reads has a pod with a new claim read what write has written.
func (e *carvedEnv) reads(c workload.Claim) {
	e.Helper()
	if got := e.RunPod(workload.Pod{Name: "reader", Script: "cat /data/a", Claims: []workload.Claim{c}}); got != "secret" {
		e.Errorf("a new claim of the name read %q", got)
	}
}

func (e *carvedEnv) released(pv string) {
	e.Helper()
	e.pv(pv, "Released", func(pv *corev1.PersistentVolume) bool { return pv.Status.Phase == corev1.VolumeReleased })
}

func (e *carvedEnv) nodeOf(pv *corev1.PersistentVolume) string { return pv.Labels[api.LabelNode] }

// patch changes a PersistentVolume that may be gone.
func (e *carvedEnv) patch(pv, patch string) {
	e.Helper()
	_, err := e.C.Client().CoreV1().PersistentVolumes().Patch(context.WithoutCancel(e.Ctx), pv, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		e.Errorf("patching %s: %v", pv, err)
	}
}
