package publish

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

// request is what a server was asked.
type request struct {
	method, path, kind string
	body               []byte
}

// served returns a client of a server that answers with respond, and a
// function that returns the requests so far.
func served(t *testing.T, respond func(http.ResponseWriter, *http.Request)) (*Client, func() []request) {
	t.Helper()
	var mu sync.Mutex
	var got []request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		got = append(got, request{r.Method, r.URL.Path, r.Header.Get("Content-Type"), body})
		mu.Unlock()
		respond(w, r)
	}))
	t.Cleanup(server.Close)
	c, err := NewClient(&rest.Config{Host: server.URL}, "node-1")
	if err != nil {
		t.Fatal(err)
	}
	return c, func() []request {
		mu.Lock()
		defer mu.Unlock()
		return append([]request(nil), got...)
	}
}

func answer(w http.ResponseWriter, code int, kind string, object any) {
	data, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		panic(err)
	}
	fields["kind"], fields["apiVersion"] = kind, "v1"
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(fields) // the client may be gone
}

func refuse(w http.ResponseWriter, err *apierrors.StatusError) {
	answer(w, int(err.ErrStatus.Code), "Status", err.ErrStatus)
}

var pvResource = schema.GroupResource{Resource: pvs}

// decode reads an object in whatever form the client has sent it.
func decode(t *testing.T, data []byte) runtime.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	object, _, err := serializer.NewCodecFactory(scheme).UniversalDeserializer().Decode(data, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// only checks that there was one request, and returns it.
func only(t *testing.T, requests []request, method, path string) request {
	t.Helper()
	if len(requests) != 1 || requests[0].method != method || requests[0].path != path {
		t.Fatalf("requests %+v, want one %s %s", requests, method, path)
	}
	return requests[0]
}

const pvPath = "/api/v1/persistentvolumes"

func TestCreate(t *testing.T) {
	made := pvOf("pv1", id1, "u1", "5")
	c, requests := served(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, 201, "PersistentVolume", made) })
	want := pvOf("pv1", id1, "", "")
	got, created, err := c.Create(t.Context(), want)
	if err != nil || !created || got.UID != "u1" || got.ResourceVersion != "5" {
		t.Fatalf("got %+v, %v, %v", got, created, err)
	}
	r := only(t, requests(), "POST", pvPath)
	sent, ok := decode(t, r.body).(*corev1.PersistentVolume)
	if !ok || !reflect.DeepEqual(sent.Labels, want.Labels) || !reflect.DeepEqual(sent.Finalizers, want.Finalizers) || sent.Spec.Local.Path != want.Spec.Local.Path {
		t.Errorf("sent %+v", sent)
	}
}

func TestCreateWhatExists(t *testing.T) {
	there := true
	c, requests := served(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == "POST":
			refuse(w, apierrors.NewAlreadyExists(pvResource, "pv1"))
		case there:
			answer(w, 200, "PersistentVolume", pvOf("pv1", id2, "u9", "5"))
		default:
			refuse(w, apierrors.NewNotFound(pvResource, "pv1"))
		}
	})
	got, created, err := c.Create(t.Context(), pvOf("pv1", id1, "", ""))
	if err != nil || created || got.UID != "u9" {
		t.Fatalf("got %+v, %v, %v; want the one that exists", got, created, err)
	}
	if r := requests(); len(r) != 2 || r[1].method != "GET" || r[1].path != pvPath+"/pv1" {
		t.Errorf("requests %+v", r)
	}
	there = false
	if got, created, err := c.Create(t.Context(), pvOf("pv1", id1, "", "")); err == nil || created || !apierrors.IsConflict(err) {
		t.Errorf("gone in between: got %+v, %v, %v; want a conflict", got, created, err)
	}
}

func TestGet(t *testing.T) {
	c, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/pv1"):
			answer(w, 200, "PersistentVolume", pvOf("pv1", id1, "u1", "5"))
		case strings.HasSuffix(r.URL.Path, "/gone"):
			refuse(w, apierrors.NewNotFound(pvResource, "gone"))
		default:
			refuse(w, apierrors.NewForbidden(pvResource, "secret", nil))
		}
	})
	if pv, err := c.Get(t.Context(), "pv1"); err != nil || pv == nil || pv.UID != "u1" {
		t.Errorf("got %+v, %v", pv, err)
	}
	if pv, err := c.Get(t.Context(), "gone"); err != nil || pv != nil {
		t.Errorf("got %+v, %v; want nil", pv, err)
	}
	if pv, err := c.Get(t.Context(), "secret"); err == nil || pv != nil { // not an absence
		t.Errorf("got %+v, %v; want an error", pv, err)
	}
}

// Only the PV that was seen is deleted or let go: by UID, and while no claim
// has it also by resource version.
func TestWithdrawAndLetGo(t *testing.T) {
	free := volume.PV{Name: "pv1", UID: "u1", ResourceVersion: "5"}
	claimed := free
	claimed.Claim = &volume.Claim{Namespace: "ns", Name: "a", UID: "ca"}
	named := free
	named.Claim = &volume.Claim{Namespace: "ns", Name: "a"} // which may take it at any time
	for _, c := range []struct {
		name    string
		pv      volume.PV
		version string
	}{{"unclaimed", free, "5"}, {"claimed", claimed, ""}, {"for a claim that has not come", named, "5"}} {
		t.Run(c.name, func(t *testing.T) {
			client, requests := served(t, func(w http.ResponseWriter, _ *http.Request) {
				answer(w, 200, "PersistentVolume", pvOf("pv1", id1, "u1", "6"))
			})
			if left, err := client.Withdraw(t.Context(), c.pv); err != nil || left == nil || left.ResourceVersion != "6" {
				t.Fatalf("got %v, %v, want the PV as it is now", left, err)
			}
			options, ok := decode(t, only(t, requests(), "DELETE", pvPath+"/pv1").body).(*metav1.DeleteOptions)
			if !ok || options.Preconditions == nil || options.Preconditions.UID == nil || *options.Preconditions.UID != "u1" {
				t.Fatalf("options %+v, want the UID as a condition", options)
			}
			if version := options.Preconditions.ResourceVersion; (version == nil) != (c.version == "") || version != nil && *version != c.version {
				t.Errorf("condition on version %v, want %q", version, c.version)
			}

			if err := client.LetGo(t.Context(), c.pv); err != nil {
				t.Fatal(err)
			}
			patch := only(t, requests()[1:], "PATCH", pvPath+"/pv1")
			want := map[string]any{"uid": "u1", "$deleteFromPrimitiveList/finalizers": []any{api.Finalizer}}
			if c.version != "" {
				want["resourceVersion"] = c.version
			}
			var got map[string]map[string]any
			if err := json.Unmarshal(patch.body, &got); err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || !reflect.DeepEqual(got["metadata"], want) || patch.kind != "application/strategic-merge-patch+json" {
				t.Errorf("patch %s of kind %s, want metadata %v", patch.body, patch.kind, want)
			}
		})
	}
}

func TestWithdrawAndLetGoErrors(t *testing.T) {
	var refusal *apierrors.StatusError
	c, _ := served(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, refusal) })
	pv := volume.PV{Name: "pv1", UID: "u1"}
	refusal = apierrors.NewNotFound(pvResource, "pv1")
	if _, err := c.Withdraw(t.Context(), pv); err != nil {
		t.Errorf("withdrawing what is gone: %v", err)
	}
	if err := c.LetGo(t.Context(), pv); err != nil {
		t.Errorf("letting go what is gone: %v", err)
	}
	refusal = apierrors.NewConflict(pvResource, "pv1", io.EOF)
	if _, err := c.Withdraw(t.Context(), pv); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "pv1") {
		t.Errorf("got %v, want a conflict that names the PV", err)
	}
	if err := c.LetGo(t.Context(), pv); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "pv1") {
		t.Errorf("got %v, want a conflict that names the PV", err)
	}
}

func TestEvent(t *testing.T) {
	c, requests := served(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, 201, "Event", corev1.Event{}) })
	e := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "e1"}, Reason: api.ReasonWipeFailed}
	if err := c.Event(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	sent, ok := decode(t, only(t, requests(), "POST", "/api/v1/namespaces/ns/events").body).(*corev1.Event)
	if !ok || sent.Reason != api.ReasonWipeFailed {
		t.Errorf("sent %+v", sent)
	}
}

func TestNode(t *testing.T) {
	node := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", UID: "n-uid", Labels: map[string]string{corev1.LabelHostname: "host-1", "zone": "a"}}}
	c, requests := served(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, "Node", node) })
	got, err := c.Node(t.Context())
	if want := (Node{Name: "node-1", UID: "n-uid", Hostname: "host-1", Labels: node.Labels}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	only(t, requests(), "GET", "/api/v1/nodes/node-1")
	node.Spec.Taints = []corev1.Taint{{Key: "other"}, {Key: api.TaintDiskGone, Effect: corev1.TaintEffectNoSchedule}}
	if got, err := c.Node(t.Context()); err != nil || !got.Tainted {
		t.Errorf("with the taint: got %+v, %v", got, err)
	}
	delete(node.Labels, corev1.LabelHostname)
	if _, err := c.Node(t.Context()); err == nil || !strings.Contains(err.Error(), corev1.LabelHostname) {
		t.Errorf("without the label: %v, want an error that names it", err)
	}
}
