package publish

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/berth-storage/berth/internal/volume"
)

const gi = int64(1) << 30

func TestGrows(t *testing.T) {
	const begun, refused = string(corev1.PersistentVolumeClaimControllerResizeInProgress), string(corev1.PersistentVolumeClaimControllerResizeInfeasible)
	const pending, onNode = string(corev1.PersistentVolumeClaimNodeResizePending), string(corev1.PersistentVolumeClaimNodeResizeInProgress)
	const nodeRefused = string(corev1.PersistentVolumeClaimNodeResizeInfeasible)
	for _, c := range []struct {
		name           string
		asks, has, pv  int64
		allocated      int64
		stage          string
		want           int64 // 0: nothing to do
		other, leaving bool
	}{
		{name: "has what it asks for", asks: 1, has: 1, pv: 1},
		{name: "has more", asks: 1, has: 2, pv: 2},
		{name: "not bound yet", asks: 1, has: 0, pv: 1},
		{name: "bound to another PV", asks: 2, has: 1, pv: 1, other: true},
		{name: "being deleted", asks: 2, has: 1, pv: 1, leaving: true},
		{name: "asks for more", asks: 2, has: 1, pv: 1, want: 2},
		{name: "after an earlier growth", asks: 3, has: 2, pv: 2, allocated: 2, want: 3},
		{name: "a crash after it was begun", asks: 2, has: 1, pv: 1, allocated: 2, stage: begun, want: 2},
		{name: "a crash after the PV has grown", asks: 2, has: 1, pv: 2, allocated: 2, stage: begun, want: 2},
		{name: "more than was begun", asks: 3, has: 1, pv: 1, allocated: 2, stage: begun, want: 3},
		{name: "less than was begun", asks: 2, has: 1, pv: 1, allocated: 9, stage: begun, want: 2},
		{name: "less than was begun, after the PV has grown", asks: 2, has: 1, pv: 9, allocated: 9, stage: begun, want: 9},
		{name: "refused, tried again", asks: 9, has: 1, pv: 1, allocated: 9, stage: refused, want: 9},
		{name: "refused, and reduced", asks: 2, has: 1, pv: 1, allocated: 9, stage: refused, want: 2},
		{name: "refused, and reduced to what the PV has", asks: 2, has: 1, pv: 2, allocated: 9, stage: refused, want: 2},
		{name: "the kubelet's turn", asks: 2, has: 1, pv: 2, allocated: 2, stage: pending},
		{name: "the kubelet is at it", asks: 2, has: 1, pv: 2, allocated: 2, stage: onNode},
		{name: "more, while the kubelet is at it", asks: 3, has: 1, pv: 2, allocated: 2, stage: onNode},
		{name: "the kubelet's turn, but the PV is smaller than was said", asks: 2, has: 1, pv: 1, allocated: 2, stage: pending, want: 2},
		{name: "the kubelet could not", asks: 2, has: 1, pv: 2, allocated: 2, stage: nodeRefused, want: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := volume.Want{PV: "pv1", Bytes: c.asks, HasBytes: c.has, AllocatedBytes: c.allocated, Resizing: c.stage, Deleting: c.leaving}
			if c.other {
				w.PV = "pv2"
			}
			if got, now := Grows(w, volume.PV{Name: "pv1", CapacityBytes: c.pv}); got != c.want || now != (c.want > 0) {
				t.Errorf("to %d, %v; want %d", got, now, c.want)
			}
		})
	}
}

// apply does to a claim what the API server does with the patch of its status:
// maps are merged, null takes out, conditions are told apart by their type.
func apply(t *testing.T, claim *corev1.PersistentVolumeClaim, r Resize) *corev1.PersistentVolumeClaim {
	t.Helper()
	data, err := json.Marshal(r.status(WantOf(claim)))
	if err != nil {
		t.Fatal(err)
	}
	var patch struct {
		Capacity, AllocatedResources corev1.ResourceList
		AllocatedResourceStatuses    map[corev1.ResourceName]*corev1.ClaimResourceStatus
		Conditions                   []struct {
			corev1.PersistentVolumeClaimCondition
			Patch string `json:"$patch"`
		}
	}
	in := json.NewDecoder(bytes.NewReader(data))
	in.DisallowUnknownFields()
	if err := in.Decode(&patch); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	claim = claim.DeepCopy()
	s := &claim.Status
	if s.AllocatedResources == nil {
		s.AllocatedResources, s.AllocatedResourceStatuses = corev1.ResourceList{}, map[corev1.ResourceName]corev1.ClaimResourceStatus{}
	}
	maps.Copy(s.Capacity, patch.Capacity)
	maps.Copy(s.AllocatedResources, patch.AllocatedResources)
	for name, stage := range patch.AllocatedResourceStatuses {
		if delete(s.AllocatedResourceStatuses, name); stage != nil {
			s.AllocatedResourceStatuses[name] = *stage
		}
	}
	for _, c := range patch.Conditions {
		s.Conditions = slices.DeleteFunc(s.Conditions, func(old corev1.PersistentVolumeClaimCondition) bool { return old.Type == c.Type })
		if c.Patch != "delete" {
			s.Conditions = append(s.Conditions, c.PersistentVolumeClaimCondition)
		}
	}
	return claim
}

// told is a claim's status in a line.
func told(c *corev1.PersistentVolumeClaim) string {
	var conditions []string
	for _, k := range c.Status.Conditions {
		conditions = append(conditions, string(k.Type)+strings.TrimSuffix("="+k.Message, "="))
	}
	slices.Sort(conditions)
	q := func(r corev1.ResourceList) string {
		return fmt.Sprintf("%.1f", float64(r.Storage().Value())/float64(gi))
	}
	return fmt.Sprintf("has %s of %s %s %s", q(c.Status.Capacity), q(c.Status.AllocatedResources), c.Status.AllocatedResourceStatuses["storage"], conditions)
}

// TestResizeStages: what a claim says, from one stage to the next; and that one
// which could not grow so far is right again once less was asked for.
func TestResizeStages(t *testing.T) {
	claim := claimOf("data", "u1", func(c *corev1.PersistentVolumeClaim) {
		c.Spec.VolumeName, c.Status.Phase, c.Status.Capacity = "pv1", corev1.ClaimBound, storage(gi)
		c.Status.Conditions = []corev1.PersistentVolumeClaimCondition{{Type: "Another", Status: "True"}}
	})
	pv := volume.PV{Name: "pv1", CapacityBytes: gi}
	asks := func(size string) { claim.Spec.Resources.Requests["storage"] = resource.MustParse(size) }
	grows := func(to int64) {
		t.Helper()
		if got, _ := Grows(WantOf(claim), pv); got != to {
			t.Errorf("grows to %d, want %d, with %s", got, to, told(claim))
		}
	}
	now := func(r Resize, want string) {
		t.Helper()
		claim = apply(t, claim, r)
		if got := told(claim); got != want {
			t.Errorf("%s: %s\nwant %s", r.Stage, got, want)
		}
	}
	asks("9Gi")
	grows(9 * gi)
	now(Resize{Stage: ResizeBegun, Bytes: 9 * gi}, "has 1.0 of 9.0 ControllerResizeInProgress [Another Resizing]")
	now(Resize{Stage: ResizeRefused, Bytes: 9 * gi, Message: "full"}, "has 1.0 of 9.0 ControllerResizeInfeasible [Another ControllerResizeError=full Resizing]")
	grows(9 * gi) // tried again: nothing more is said until it ends otherwise
	now(Resize{Stage: ResizeBegun, Bytes: 9 * gi}, "has 1.0 of 9.0 ControllerResizeInfeasible [Another ControllerResizeError=full Resizing]")
	now(Resize{Stage: ResizeRefused, Bytes: 9 * gi, Message: "still full"}, "has 1.0 of 9.0 ControllerResizeInfeasible [Another ControllerResizeError=full Resizing]")

	asks("1536Mi")
	grows(3 * gi / 2)
	now(Resize{Stage: ResizeBegun, Bytes: 3 * gi / 2}, "has 1.0 of 1.5 ControllerResizeInProgress [Another Resizing]")
	pv.CapacityBytes = 3 * gi / 2
	now(Resize{Stage: ResizeDone, Bytes: 3 * gi / 2}, "has 1.5 of 1.5  [Another]")
	grows(0)

	asks("2Gi")
	grows(2 * gi)
	now(Resize{Stage: ResizeBegun, Bytes: 2 * gi}, "has 1.5 of 2.0 ControllerResizeInProgress [Another Resizing]")
	pv.CapacityBytes = 5 * gi / 2 // the pool gives more
	const message = "=the volume has grown; the filesystem on it grows now, or when a pod uses it next"
	now(Resize{Stage: ResizeOnNode, Bytes: 5 * gi / 2}, "has 1.5 of 2.5 NodeResizePending [Another FileSystemResizePending"+message+" Resizing]")
	grows(0)
	claim.Status.AllocatedResourceStatuses["storage"] = corev1.PersistentVolumeClaimNodeResizeInfeasible // the kubelet's word
	claim.Status.Conditions = append(claim.Status.Conditions, corev1.PersistentVolumeClaimCondition{Type: corev1.PersistentVolumeClaimNodeResizeError, Status: "True"})
	grows(5 * gi / 2)
	now(Resize{Stage: ResizeBegun, Bytes: 5 * gi / 2}, "has 1.5 of 2.5 NodeResizeInfeasible [Another FileSystemResizePending"+message+" NodeResizeError Resizing]")
	now(Resize{Stage: ResizeOnNode, Bytes: 5 * gi / 2}, "has 1.5 of 2.5 NodeResizePending [Another FileSystemResizePending"+message+" Resizing]")
	now(Resize{Stage: ResizeDone, Bytes: 5 * gi / 2}, "has 2.5 of 2.5  [Another]")
}
