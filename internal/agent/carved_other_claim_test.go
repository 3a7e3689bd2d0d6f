package agent

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/internal/volume"
)

// TestKeptVolumeGrows: a volume that was kept after its claim, and has another
// one since, grows when that one asks for more.
func TestKeptVolumeGrows(t *testing.T) {
	carvedNow(t, func(t *testing.T, w *world, _ *Agent) {
		w.place("a", 40*mib)
		settle()
		w.bindCarved()
		settle()
		w.edit("pvc-a", func(pv *corev1.PersistentVolume) {
			pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
		})
		w.releaseCarved("a")
		settle()
		w.edit("pvc-a", func(pv *corev1.PersistentVolume) { // as a person binds it to another
			pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: "b", UID: "b"}
			pv.Status.Phase = corev1.VolumeAvailable
		})
		w.place("b", 40*mib)
		w.editClaim("b", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.VolumeName, c.Annotations = "pvc-a", nil // the scheduler has chosen nothing for it
		})
		w.bindCarved()
		settle()
		w.growClaim("b", 60*mib)
		settle()
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.carved.store.pieces) != 1 || w.carved.store.pieces["pvc-a"].Bytes != 60*mib {
			t.Errorf("in the pool is %+v", w.carved.store.pieces)
		}
		if has := w.carved.claims["b"].Status.Capacity.Storage().Value(); has != 60*mib {
			t.Errorf("its claim has %d bytes", has)
		}
		if r := w.records[carvedID("pvc-a")]; r.State != volume.Used || r.Claim == nil || r.Claim.Name != "b" {
			t.Errorf("its record is %+v", r)
		}
	})
}
