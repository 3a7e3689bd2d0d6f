package publish

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/internal/volume"
)

// What Kubernetes keeps of a claim's wish for more space, and who writes it. The
// rules are those of kubernetes-csi/external-resizer, pkg/controller
// expand_and_recover.go and resize_status.go, with the feature
// RecoverVolumeExpansionFailure, and of the kubelet, pkg/volume/util
// resize_util.go and operationexecutor/node_expander.go:
//
//   - A bound claim whose spec asks for more than its status.capacity says wants
//     to grow. The API server lets nobody ask for less than status.capacity, and
//     for as much only before: who takes a wish back has to ask for a little
//     more than there is.
//   - The resizer writes status.allocatedResources, the size that it is at, and
//     status.allocatedResourceStatuses, the stage: ControllerResizeInProgress.
//     Quotas count allocatedResources where it is more than what is asked for.
//   - It then grows the volume, the PV's capacity, and at the end either says
//     that the volume is done (status.capacity, no stage, no condition of these),
//     or NodeResizePending where the filesystem has yet to be grown.
//   - From NodeResizePending on the kubelet has the claim: NodeResizeInProgress
//     while it calls NodeExpandVolume, at the next mount or at once where the
//     volume is in use; then status.capacity, as above, or NodeResizeInfeasible,
//     for which the resizer has to write NodeResizePending once more. The kubelet
//     does nothing for a claim without a stage, nor for a PV whose capacity
//     status.capacity has already.
//   - Where the volume cannot grow so far the stage is ControllerResizeInfeasible,
//     with a condition ControllerResizeError, and whoever asked may ask for less.
//     The size in allocatedResources is then given up for the new one.
//
// What is different here: whether a volume grew is known at once and for certain,
// as the pool is on this machine, tells the size that a volume has, and never
// makes one smaller. So a size that was begun and not finished is never gone on
// with for its own sake.

// A Stage is how far a claim's wish for more space has come.
type Stage string

// The stages.
const (
	ResizeBegun   Stage = "Begun"   // the volume is about to grow to Bytes
	ResizeRefused Stage = "Refused" // it cannot; Message says why
	ResizeOnNode  Stage = "OnNode"  // volume and PV have Bytes; the kubelet is to grow what is on it
	ResizeDone    Stage = "Done"    // the claim has Bytes
)

// A Resize is what is to be said of a claim's wish for more space.
type Resize struct {
	Stage   Stage
	Bytes   int64
	Message string // of Refused
}

// Grows says to how many bytes a claim's volume is to grow now; false when there
// is nothing to do: it has what it asks for, is not bound, or the kubelet is at
// it. The size may be one that the PV has already, where only the claim has yet
// to be told.
func Grows(w volume.Want, pv volume.PV) (bytes int64, now bool) {
	if w.PV != pv.Name || w.HasBytes == 0 || w.Bytes <= w.HasBytes || w.Deleting {
		return 0, false
	}
	switch corev1.ClaimResourceStatus(w.Resizing) {
	case corev1.PersistentVolumeClaimNodeResizePending, corev1.PersistentVolumeClaimNodeResizeInProgress:
		if pv.CapacityBytes >= w.AllocatedBytes {
			return 0, false // one after the other
		}
	}
	return max(w.Bytes, pv.CapacityBytes), true
}

// resizeConditions are the conditions that are about growing; a claim may have
// others.
var resizeConditions = []corev1.PersistentVolumeClaimConditionType{
	corev1.PersistentVolumeClaimResizing,
	corev1.PersistentVolumeClaimFileSystemResizePending,
	corev1.PersistentVolumeClaimControllerResizeError,
	corev1.PersistentVolumeClaimNodeResizeError,
}

// status is what of a claim's status is to be changed, as a strategic merge
// patch; nil when nothing is.
func (r Resize) status(w volume.Want) map[string]any {
	now := time.Now().UTC().Format(time.RFC3339)
	condition := func(kind corev1.PersistentVolumeClaimConditionType, message string) map[string]any {
		return map[string]any{"type": kind, "status": corev1.ConditionTrue, "lastTransitionTime": now, "message": message}
	}
	without := func(kinds ...corev1.PersistentVolumeClaimConditionType) (gone []any) {
		for _, kind := range kinds {
			gone = append(gone, map[string]any{"$patch": "delete", "type": kind})
		}
		return gone
	}
	status := map[string]any{}
	stage := func(s any) { status["allocatedResourceStatuses"] = map[string]any{"storage": s} }
	switch r.Stage {
	case ResizeBegun:
		// One that is tried again at the same size keeps its stage and error until
		// it succeeds, else each try would be a change that asks for another.
		if w.AllocatedBytes == r.Bytes && w.Resizing != "" {
			return nil
		}
		stage(corev1.PersistentVolumeClaimControllerResizeInProgress)
		status["allocatedResources"] = map[string]any{"storage": quantity(r.Bytes)}
		status["conditions"] = append(without(resizeConditions[1:]...), condition(corev1.PersistentVolumeClaimResizing, ""))
	case ResizeRefused:
		if w.AllocatedBytes == r.Bytes && w.Resizing == string(corev1.PersistentVolumeClaimControllerResizeInfeasible) {
			return nil
		}
		stage(corev1.PersistentVolumeClaimControllerResizeInfeasible)
		status["conditions"] = []any{condition(corev1.PersistentVolumeClaimControllerResizeError, r.Message)}
	case ResizeOnNode:
		stage(corev1.PersistentVolumeClaimNodeResizePending)
		status["allocatedResources"] = map[string]any{"storage": quantity(r.Bytes)}
		status["conditions"] = append(without(corev1.PersistentVolumeClaimControllerResizeError, corev1.PersistentVolumeClaimNodeResizeError),
			condition(corev1.PersistentVolumeClaimFileSystemResizePending, "the volume has grown; the filesystem on it grows now, or when a pod uses it next"))
	case ResizeDone:
		stage(nil)
		status["allocatedResources"] = map[string]any{"storage": quantity(r.Bytes)}
		status["capacity"] = map[string]any{"storage": quantity(r.Bytes)}
		status["conditions"] = without(resizeConditions...)
	}
	return status
}
