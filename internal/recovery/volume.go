package recovery

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
)

// Volume is what decisions need of a PersistentVolume.
type Volume struct {
	Name, UID, ResourceVersion string

	Owner    Owner
	Phase    corev1.PersistentVolumePhase
	Delete   bool // the reclaim policy
	Deleting bool
	Held     bool // by Berth's finalizer
	Claim    *Claim
	// GoneSince and Address are the annotations api.AnnNodeGoneSince and
	// api.AnnNodeAddress, as they stand there.
	GoneSince, Address string
}

// Claim is the claim that a volume names.
type Claim struct{ Namespace, Name, UID string }

// View reads a Volume from the object; false for one that is neither local nor
// carved by Berth, or not of one of the classes.
func View(pv *corev1.PersistentVolume, classes []string) (Volume, bool) {
	if pv.Spec.Local == nil && !publish.Carved(pv) || !slices.Contains(classes, pv.Spec.StorageClassName) {
		return Volume{}, false
	}
	v := Volume{
		Name: pv.Name, UID: string(pv.UID), ResourceVersion: pv.ResourceVersion,
		Owner:     OwnerOf(pv),
		Phase:     pv.Status.Phase,
		Delete:    pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete,
		Deleting:  pv.DeletionTimestamp != nil,
		Held:      slices.Contains(pv.Finalizers, api.Finalizer),
		GoneSince: pv.Annotations[api.AnnNodeGoneSince],
		Address:   pv.Annotations[api.AnnNodeAddress],
	}
	if c := pv.Spec.ClaimRef; c != nil {
		v.Claim = &Claim{Namespace: c.Namespace, Name: c.Name, UID: string(c.UID)}
	}
	return v, true
}

// stale reports whether the volume serves nobody once its node is gone: no
// claim has it, and no data in it is to be kept.
func (v Volume) stale() bool {
	return v.Phase == corev1.VolumeAvailable || v.Phase == corev1.VolumeReleased && v.Delete
}

// claimed reports whether a claim has, or is about to have, the volume.
func (v Volume) claimed() bool {
	return v.Claim != nil && v.Claim.UID != "" && v.Phase != corev1.VolumeAvailable && v.Phase != corev1.VolumeReleased
}

// noted returns for how long the node has been gone by the PV's annotation, not
// more than limit; false when it does not tell. A time in the future tells
// nothing: the clock that wrote it, or this one, was wrong.
func (v Volume) noted(now time.Time, limit time.Duration) (time.Duration, bool) {
	since, err := time.Parse(time.RFC3339, v.GoneSince)
	if err != nil || since.After(now) {
		return 0, false
	}
	return min(now.Sub(since), limit), true
}
