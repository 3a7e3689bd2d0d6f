package publish

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/internal/volume"
)

// What a patch that cannot be done is answered with.
var noSuchTest = apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", corev1.Resource(pvcs), "", "testing value failed", 0, false)

func TestGiveBack(t *testing.T) {
	var refusal *apierrors.StatusError
	c, requests := served(t, func(w http.ResponseWriter, _ *http.Request) {
		if refusal != nil {
			refuse(w, refusal)
			return
		}
		answer(w, 200, "PersistentVolumeClaim", claimOf("data", "u1"))
	})
	w := WantOf(claimOf("data", "u1"))
	if given, err := c.GiveBack(t.Context(), w); !given || err != nil {
		t.Fatalf("given %v, %v", given, err)
	}
	r := only(t, requests(), "PATCH", claimPath)
	const annotation, label = "/metadata/annotations/volume.kubernetes.io~1selected-node", "/metadata/labels/berth.storage~1node"
	want := []map[string]any{
		{"op": "test", "path": "/metadata/uid", "value": "u1"},
		{"op": "test", "path": annotation, "value": "node-1"},
		{"op": "test", "path": label, "value": "node-1"},
		{"op": "remove", "path": annotation},
		{"op": "remove", "path": label},
	}
	var got []map[string]any
	if err := json.Unmarshal(r.body, &got); err != nil || r.kind != "application/json-patch+json" || !reflect.DeepEqual(got, want) {
		t.Errorf("sent %s as %s, %v", r.body, r.kind, err)
	}
	for _, refusal = range []*apierrors.StatusError{noSuchTest, apierrors.NewNotFound(corev1.Resource(pvcs), "data")} {
		if given, err := c.GiveBack(t.Context(), w); given || err != nil {
			t.Errorf("%v: given %v, %v; want neither", refusal, given, err)
		}
	}
	denied := apierrors.NewForbidden(corev1.Resource(pvcs), "data", io.EOF) // as an admission policy does
	denied.ErrStatus.Reason, denied.ErrStatus.Code = metav1.StatusReasonInvalid, http.StatusUnprocessableEntity
	denied.ErrStatus.Details.Causes = []metav1.StatusCause{{Message: "no"}}
	for _, refusal = range []*apierrors.StatusError{denied, apierrors.NewForbidden(corev1.Resource(pvcs), "data", io.EOF)} {
		if given, err := c.GiveBack(t.Context(), w); given || apierrors.ReasonForError(err) != refusal.ErrStatus.Reason {
			t.Errorf("given %v, %v; want the refusal", given, err)
		}
	}
}

func TestGrowPV(t *testing.T) {
	c, requests := served(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, "PersistentVolume", pvOf("pv1", id1, "u1", "6"))
	})
	pv := volume.PV{Name: "pv1", UID: "u1", CapacityBytes: 1 << 30}
	if got, err := c.GrowPV(t.Context(), pv, 3<<29); err != nil || got.ResourceVersion != "6" {
		t.Fatalf("got %v, %v", got, err)
	}
	r := only(t, requests(), "PATCH", pvPath+"/pv1")
	if want := `{"metadata":{"uid":"u1"},"spec":{"capacity":{"storage":"1536Mi"}}}`; string(r.body) != want || r.kind != "application/merge-patch+json" {
		t.Errorf("sent %s as %s, want %s", r.body, r.kind, want)
	}
	if got, err := c.GrowPV(t.Context(), pv, 1<<30-1); err == nil || len(requests()) != 1 {
		t.Errorf("made it smaller: %v, %v", got, err)
	}
}

func TestSetResize(t *testing.T) {
	conflict := false
	c, requests := served(t, func(w http.ResponseWriter, _ *http.Request) {
		if conflict {
			refuse(w, apierrors.NewConflict(corev1.Resource(pvcs), "data", io.EOF))
			return
		}
		answer(w, 200, "PersistentVolumeClaim", claimOf("data", "u1", func(c *corev1.PersistentVolumeClaim) { c.ResourceVersion = "6" }))
	})
	w := WantOf(claimOf("data", "u1"))
	got, err := c.SetResize(t.Context(), w, Resize{Stage: ResizeBegun, Bytes: 2 << 30})
	if err != nil || got.ResourceVersion != "6" {
		t.Fatalf("got %+v, %v", got, err)
	}
	r := only(t, requests(), "PATCH", claimPath+"/status")
	var sent struct {
		Metadata map[string]string
		Status   map[string]any
	}
	if err := json.Unmarshal(r.body, &sent); err != nil || r.kind != "application/strategic-merge-patch+json" ||
		!reflect.DeepEqual(sent.Metadata, map[string]string{"uid": "u1", "resourceVersion": "5"}) || len(sent.Status) == 0 {
		t.Errorf("sent %s as %s, %v", r.body, r.kind, err)
	}
	w.AllocatedBytes, w.Resizing = 2<<30, "ControllerResizeInProgress"
	if got, err := c.SetResize(t.Context(), w, Resize{Stage: ResizeBegun, Bytes: 2 << 30}); err != nil || !reflect.DeepEqual(got, w) || len(requests()) != 1 {
		t.Errorf("what it says already: got %+v, %v, after %d requests", got, err, len(requests()))
	}
	conflict = true
	if _, err := c.SetResize(t.Context(), w, Resize{Stage: ResizeDone, Bytes: 2 << 30}); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
}
