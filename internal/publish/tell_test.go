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
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

// The state goes onto the PV that was seen and no other, and touches nothing else.
func TestSetState(t *testing.T) {
	for state, want := range map[string]map[string]any{
		"DiskGone": {api.AnnState: "DiskGone", api.AnnReason: "unplugged"},
		"":         {api.AnnState: nil, api.AnnReason: nil},
	} {
		c, requests := served(t, func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, "PersistentVolume", pvOf("pv1", id1, "u1", "6"))
		})
		got, err := c.SetState(t.Context(), volume.PV{Name: "pv1", UID: "u1", ResourceVersion: "5"}, state, "unplugged")
		if err != nil || got.ResourceVersion != "6" {
			t.Fatalf("got %+v, %v", got, err)
		}
		r := only(t, requests(), "PATCH", pvPath+"/pv1")
		var sent map[string]any
		if err := json.Unmarshal(r.body, &sent); err != nil {
			t.Fatal(err)
		}
		if all := map[string]any{"metadata": map[string]any{"uid": "u1", "annotations": want}}; r.kind != "application/merge-patch+json" || !reflect.DeepEqual(sent, all) {
			t.Errorf("patch %s of kind %s, want %v", r.body, r.kind, all)
		}
	}
	c, _ := served(t, func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, apierrors.NewForbidden(pvResource, "pv1", io.EOF))
	})
	if _, err := c.SetState(t.Context(), volume.PV{Name: "pv1"}, "DiskGone", ""); !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want a refusal", err)
	}
}

// What a PV's annotation says is read back.
func TestViewOfTheState(t *testing.T) {
	pv := pvOf("pv1", id1, "u1", "5")
	if v, _ := View(pv); v.State != "" {
		t.Errorf("state %q without an annotation", v.State)
	}
	metav1.SetMetaDataAnnotation(&pv.ObjectMeta, api.AnnState, "DiskGone")
	if v, _ := View(pv); v.State != "DiskGone" {
		t.Errorf("state %q", v.State)
	}
}

// Only this node's pods are asked for, and those that use the claim are told of.
func TestPodsOf(t *testing.T) {
	pod := func(name string, phase corev1.PodPhase, volumes ...corev1.Volume) corev1.Pod {
		return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name)},
			Spec: corev1.PodSpec{Volumes: volumes}, Status: corev1.PodStatus{Phase: phase}}
	}
	claim := func(name string) corev1.Volume {
		return corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}}
	}
	list := corev1.PodList{Items: []corev1.Pod{
		pod("runs", corev1.PodRunning, corev1.Volume{Name: "other"}, claim("data")),
		pod("starts", corev1.PodPending, claim("data")),
		pod("done", corev1.PodSucceeded, claim("data")),
		pod("failed", corev1.PodFailed, claim("data")),
		pod("other", corev1.PodRunning, claim("data2")),
		pod("none", corev1.PodRunning),
		pod("da", corev1.PodRunning, corev1.Volume{Name: "ta", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}}),
	}}
	query := ""
	c, requests := served(t, func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.Query().Get("fieldSelector")
		answer(w, 200, "PodList", list)
	})
	for name, want := range map[string][]string{"data": {"runs", "starts"}, "da-ta": {"da"}} {
		got, err := c.PodsOf(t.Context(), volume.Claim{Namespace: "ns", Name: name})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, o := range got {
			names = append(names, o.Name)
			if o.Kind != "Pod" || o.Namespace != "ns" || o.UID != types.UID("uid-"+o.Name) {
				t.Errorf("reference %+v", o)
			}
		}
		if !reflect.DeepEqual(names, want) {
			t.Errorf("pods of %s are %q, want %q", name, names, want)
		}
	}
	only(t, requests()[1:], "GET", "/api/v1/namespaces/ns/pods")
	if query != "spec.nodeName=node-1" {
		t.Errorf("field selector %q", query)
	}
	c, _ = served(t, func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, apierrors.NewForbidden(pvResource, "", io.EOF))
	})
	if _, err := c.PodsOf(t.Context(), volume.Claim{Namespace: "ns", Name: "data"}); !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want a refusal", err)
	}
}
