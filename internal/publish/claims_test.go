package publish

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

func claimOf(name, uid string, edit ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	class := "fast"
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(uid), ResourceVersion: "5",
			Labels: map[string]string{api.LabelNode: "node-1"}, Annotations: map[string]string{AnnSelectedNode: "node-1"}},
		Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"},
			Resources: corev1.VolumeResourceRequirements{Requests: storage(1 << 30)}},
	}
	for _, e := range edit {
		e(c)
	}
	return c
}

func TestWantOf(t *testing.T) {
	now, block, other := metav1.Now(), corev1.PersistentVolumeBlock, "other"
	for _, c := range []struct {
		name string
		edit func(*corev1.PersistentVolumeClaim)
		want func(*volume.Want)
	}{
		{"placed", func(*corev1.PersistentVolumeClaim) {}, func(*volume.Want) {}},
		{"not placed", func(c *corev1.PersistentVolumeClaim) { c.Annotations = nil }, func(w *volume.Want) { w.Node = "" }},
		{"block, within limits, of two modes", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.VolumeMode, c.Spec.Resources.Limits = &block, storage(3<<30)
			c.Spec.AccessModes = append(c.Spec.AccessModes, "ReadOnlyMany")
		}, func(w *volume.Want) {
			w.Block, w.LimitBytes, w.AccessModes = true, 3<<30, []string{"ReadWriteOnce", "ReadOnlyMany"}
		}},
		{"with the class of old", func(c *corev1.PersistentVolumeClaim) {
			c.Annotations[corev1.BetaStorageClassAnnotation] = "old"
		}, func(w *volume.Want) { w.Class = "old" }},
		{"without a class and a size", func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName, c.Spec.Resources.Requests = nil, nil },
			func(w *volume.Want) { w.Class, w.Bytes = "", 0 }},
		{"negative", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.Resources.Requests["storage"] = resource.MustParse("-1Gi")
		},
			func(w *volume.Want) { w.Bytes = -1 << 30 }},
		{"beyond all numbers", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.Resources.Requests["storage"] = resource.MustParse("99999999Ei")
		},
			func(w *volume.Want) { w.Bytes = 1<<63 - 1 }},
		{"bound, growing, being deleted", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.VolumeName, c.DeletionTimestamp = "pv1", &now
			c.Status.Capacity, c.Status.AllocatedResources = storage(1<<30), storage(2<<30)
			c.Status.AllocatedResourceStatuses = map[corev1.ResourceName]corev1.ClaimResourceStatus{"storage": corev1.PersistentVolumeClaimNodeResizePending}
		}, func(w *volume.Want) {
			w.PV, w.Deleting, w.HasBytes, w.AllocatedBytes, w.Resizing = "pv1", true, 1<<30, 2<<30, "NodeResizePending"
		}},
		{"for a copy", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.DataSourceRef = &corev1.TypedObjectReference{Kind: "VolumeSnapshot", Name: "s"}
		}, func(w *volume.Want) { w.Unable = "a copy of other data (spec.dataSource)" }},
		{"for labels and attributes", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.Selector, c.Spec.VolumeAttributesClassName = &metav1.LabelSelector{}, &other
		}, func(w *volume.Want) {
			w.Unable = "a volume with certain labels (spec.selector), a VolumeAttributesClass (spec.volumeAttributesClassName)"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := volume.Want{Claim: volume.Claim{Namespace: "ns", Name: "data", UID: "u1"}, ResourceVersion: "5", Class: "fast", Bytes: 1 << 30,
				AccessModes: []string{"ReadWriteOnce"}, Node: "node-1"}
			c.want(&want)
			if got := WantOf(claimOf("data", "u1", c.edit)); !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestClaims(t *testing.T) {
	var changed []string
	c := NewClaims(func(w volume.Want) { changed = append(changed, w.Claim.UID+" "+w.ResourceVersion) }, func() {})
	told := func(want ...string) {
		t.Helper()
		slices.Sort(changed)
		if !slices.Equal(changed, want) {
			t.Errorf("told of %q, want %q", changed, want)
		}
		changed = nil
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if c.Synced() {
		t.Error("synced before the first list")
	}
	do(c.Add(claimOf("a", "ua")))
	told("ua 5")
	do(c.Replace([]any{claimOf("b", "ub"), claimOf("c", "uc"), "x"}, "9"))
	told("ua 5", "ub 5", "uc 5") // the first is gone
	if _, ok := c.Get("ua"); ok || !c.Synced() || len(c.All()) != 2 {
		t.Errorf("after the list: %+v, synced %v", c.All(), c.Synced())
	}
	do(c.Update(claimOf("b", "ub", func(c *corev1.PersistentVolumeClaim) { c.ResourceVersion = "6" })))
	do(c.Delete(claimOf("c", "uc")))
	told("ub 6", "uc 5")
	if w, ok := c.Get("ub"); !ok || w.ResourceVersion != "6" || len(c.All()) != 1 {
		t.Errorf("got %+v, %v", w, ok)
	}
	if c.Add("x") == nil || c.Delete(1) == nil {
		t.Error("took in what is no claim")
	}
}

func TestWatchClaims(t *testing.T) {
	asked := make(chan string, 10)
	c, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case q.Get("sendInitialEvents") != "":
			refuse(w, apierrors.NewInvalid(metav1.SchemeGroupVersion.WithKind("ListOptions").GroupKind(), "", nil))
		case q.Get("watch") != "":
			w.Header().Set("Content-Type", "application/json")
			claim := claimOf("b", "ub")
			claim.Kind, claim.APIVersion = "PersistentVolumeClaim", "v1"
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "ADDED", "object": claim}) // the client may be gone
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			asked <- r.URL.Path + " " + q.Get("labelSelector")
			answer(w, 200, "PersistentVolumeClaimList", corev1.PersistentVolumeClaimList{ListMeta: metav1.ListMeta{ResourceVersion: "5"},
				Items: []corev1.PersistentVolumeClaim{*claimOf("a", "ua")}})
		}
	})
	changed := make(chan string, 10)
	claims := NewClaims(func(w volume.Want) { changed <- w.Claim.UID }, func() {})
	running(t, func(ctx context.Context) { c.WatchClaims(ctx, claims) })
	for _, want := range []string{"ua", "ub"} {
		if got := within(t, 10*time.Second, changed, want); got != want {
			t.Errorf("told of %s, want %s", got, want)
		}
	}
	if got := <-asked; got != "/api/v1/persistentvolumeclaims berth.storage/node=node-1" {
		t.Errorf("asked for %s", got)
	}
}

const claimPath = "/api/v1/namespaces/ns/persistentvolumeclaims/data"

func TestClaim(t *testing.T) {
	c, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == claimPath:
			answer(w, 200, "PersistentVolumeClaim", claimOf("data", "u1"))
		case strings.HasSuffix(r.URL.Path, "/gone"):
			refuse(w, apierrors.NewNotFound(corev1.Resource(pvcs), "gone"))
		default:
			refuse(w, apierrors.NewForbidden(corev1.Resource(pvcs), "secret", nil))
		}
	})
	if w, err := c.Claim(t.Context(), "ns", "data"); err != nil || w == nil || w.Claim.UID != "u1" || w.Node != "node-1" {
		t.Errorf("got %+v, %v", w, err)
	}
	if w, err := c.Claim(t.Context(), "ns", "gone"); err != nil || w != nil {
		t.Errorf("got %+v, %v; want nil", w, err)
	}
	if w, err := c.Claim(t.Context(), "ns", "secret"); err == nil || w != nil { // not an absence
		t.Errorf("got %+v, %v; want an error", w, err)
	}
}
