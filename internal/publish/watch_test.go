package publish

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

func nobody(*corev1.PersistentVolume) bool { return false }

// watchServer serves lists and watches of PVs.
type watchServer struct {
	mu      sync.Mutex
	items   []*corev1.PersistentVolume
	version string // of the lists; "10" if empty
	cut     chan struct{}
	refuse  int // so many requests are refused
	refused chan struct{}
	queries []url.Values
	events  chan *corev1.PersistentVolume
}

func (s *watchServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.queries = append(s.queries, r.URL.Query())
	items, version, refusing := s.items, s.version, s.refuse > 0
	if refusing {
		if s.refuse--; s.refuse == 0 {
			close(s.refused)
		}
	}
	s.mu.Unlock()
	switch {
	case refusing:
		refuse(w, apierrors.NewServiceUnavailable("starting"))
	case r.URL.Query().Get("watch") == "":
		list := corev1.PersistentVolumeList{ListMeta: metav1.ListMeta{ResourceVersion: cmp.Or(version, "10")}}
		for _, pv := range items {
			list.Items = append(list.Items, *pv)
		}
		answer(w, 200, "PersistentVolumeList", list)
	case r.URL.Query().Get("sendInitialEvents") != "":
		refuse(w, apierrors.NewInvalid(metav1.SchemeGroupVersion.WithKind("ListOptions").GroupKind(), "", nil)) // an older API server
	default:
		s.watch(w, r)
	}
}

func (s *watchServer) watch(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(200)
	flush := w.(http.Flusher).Flush
	flush()
	for {
		select {
		case pv := <-s.events:
			pv.Kind, pv.APIVersion = "PersistentVolume", "v1"
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "ADDED", "object": pv}) // the client may be gone
			flush()
		case <-s.cut:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// running starts a function that ends with its context, and waits for its end
// when the test ends.
func running(t *testing.T, run func(context.Context)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
}

func within[T any](t *testing.T, limit time.Duration, c <-chan T, what string) (got T) {
	t.Helper()
	select {
	case got = <-c:
	case <-time.After(limit):
		t.Fatalf("not within %s: %s", limit, what)
	}
	return got
}

func TestWatchVolumes(t *testing.T) {
	s := &watchServer{items: []*corev1.PersistentVolume{pvOf("pv1", id1, "u1", "5")}, events: make(chan *corev1.PersistentVolume)}
	c, _ := served(t, s.serve)
	changed, listed := make(chan volume.ID, 10), make(chan struct{}, 10)
	store := NewStore(Handlers{Changed: func(id volume.ID) { changed <- id }, Listed: func() { listed <- struct{}{} }, Foreign: nobody})
	running(t, func(ctx context.Context) { c.WatchVolumes(ctx, store) })

	within(t, 10*time.Second, listed, "the first list")
	if got := within(t, 10*time.Second, changed, "a listed PV"); got != volume.IDOf(id1) || !store.Synced() {
		t.Errorf("changed %s, synced %v", got, store.Synced())
	}
	s.events <- pvOf("pv2", id2, "u2", "11")
	if got := within(t, 10*time.Second, changed, "a PV of the watch"); got != volume.IDOf(id2) {
		t.Errorf("changed %s", got)
	}
	if pvs, _, _ := store.Get(volume.IDOf(id2)); len(pvs) != 1 || pvs[0].UID != "u2" {
		t.Errorf("got %+v", pvs)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.queries {
		if q.Get("labelSelector") != api.LabelNode+"=node-1" && q.Get("limit") != "1" {
			t.Errorf("asked for more than this node's PVs: %v", q)
		}
	}
}

// After an API server comes back, an agent has its PVs within 5 seconds.
func TestWatchRecovers(t *testing.T) {
	s := &watchServer{items: []*corev1.PersistentVolume{pvOf("pv1", id1, "u1", "5")}, refuse: 4, refused: make(chan struct{})}
	c, _ := served(t, s.serve)
	listed := make(chan struct{}, 10)
	store := NewStore(Handlers{Changed: func(volume.ID) {}, Listed: func() { listed <- struct{}{} }, Foreign: nobody})
	running(t, func(ctx context.Context) { c.WatchVolumes(ctx, store) })
	within(t, 30*time.Second, s.refused, "four requests")
	within(t, 5*time.Second, listed, "the list, after the server's return")
	if pvs, _, _ := store.Get(volume.IDOf(id1)); len(pvs) == 0 {
		t.Error("the PV is missing")
	}
}

// TestWatchAfterRestore: an API server whose database was put back to an earlier
// time does not refuse a watch from a version that it has not reached, and shows
// nothing. What it has is read anew.
func TestWatchAfterRestore(t *testing.T) {
	for _, restored := range []string{"7", "200"} { // the second has overtaken what was seen
		t.Run(restored, func(t *testing.T) { watchAfterRestore(t, restored) })
	}
}

func watchAfterRestore(t *testing.T, restored string) {
	s := &watchServer{items: []*corev1.PersistentVolume{pvOf("pv1", id1, "u1", "9")}, events: make(chan *corev1.PersistentVolume), cut: make(chan struct{})}
	c, _ := served(t, s.serve)
	listed, changed := make(chan struct{}, 10), make(chan volume.ID, 10)
	store := NewStore(Handlers{Changed: func(id volume.ID) { changed <- id }, Listed: func() { listed <- struct{}{} }, Foreign: nobody})
	running(t, func(ctx context.Context) { c.WatchVolumes(ctx, store) })
	within(t, 10*time.Second, listed, "the first list")
	within(t, 10*time.Second, changed, "a listed PV")
	s.events <- pvOf("pv1", id1, "u1", "11") // a watch that shows nothing is followed by a list anyway
	within(t, 10*time.Second, changed, "a PV of the watch")
	s.mu.Lock()
	s.items, s.version = []*corev1.PersistentVolume{pvOf("pv1", id1, "u1", "5")}, restored
	s.mu.Unlock()
	s.cut <- struct{}{}
	within(t, 10*time.Second, listed, "the list after the restore")
	if pvs, _, _ := store.Get(volume.IDOf(id1)); len(pvs) != 1 || pvs[0].ResourceVersion != "5" {
		t.Errorf("got %+v", pvs)
	}
}

func TestWatchBackoffStaysShort(t *testing.T) {
	b := Backoff()
	for n := range 1000 {
		if d := b.Step(); d <= 0 || d > 3*time.Second {
			t.Fatalf("wait %d is %s; want at most 3s, so that 5s are kept", n, d)
		}
	}
}

func TestClasses(t *testing.T) {
	changes := 0
	c := NewClasses(func() { changes++ })
	if names, synced := c.Names(); len(names) != 0 || synced {
		t.Errorf("at first: %q, %v", names, synced)
	}
	retain := corev1.PersistentVolumeReclaimRetain
	class := func(name string, reclaim *corev1.PersistentVolumeReclaimPolicy, options ...string) *storagev1.StorageClass {
		return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, ReclaimPolicy: reclaim, MountOptions: options}
	}
	if err := c.Replace([]any{class("a", nil), class("b", &retain, "noatime"), "x"}, "1"); err != nil {
		t.Fatal(err)
	}
	if got, ok := c.Get("a"); !ok || got.Reclaim != corev1.PersistentVolumeReclaimDelete || !got.Immediate { // Kubernetes' default
		t.Errorf("a: %+v, %v", got, ok)
	}
	if got, ok := c.Get("b"); !ok || got.Reclaim != retain || !slices.Equal(got.MountOptions, []string{"noatime"}) {
		t.Errorf("b: %+v, %v", got, ok)
	}
	for _, err := range []error{c.Add(class("c", nil)), c.Update(class("c", &retain)), c.Delete(class("a", nil)), c.Resync()} {
		if err != nil {
			t.Error(err)
		}
	}
	names, synced := c.Names()
	slices.Sort(names)
	if !slices.Equal(names, []string{"b", "c"}) || !synced || changes != 4 {
		t.Errorf("%q, synced %v, %d changes", names, synced, changes)
	}
	if got, _ := c.Get("c"); got.Reclaim != retain {
		t.Errorf("c: %+v", got)
	}
	carved, wait, grows := class("d", nil), storagev1.VolumeBindingWaitForFirstConsumer, true
	carved.Provisioner, carved.Parameters, carved.VolumeBindingMode, carved.AllowVolumeExpansion = api.Driver, map[string]string{"pool": "nvme"}, &wait, &grows
	if err := c.Add(carved); err != nil {
		t.Error(err)
	}
	want := Class{Provisioner: api.Driver, Parameters: map[string]string{"pool": "nvme"}, Reclaim: corev1.PersistentVolumeReclaimDelete, AllowExpansion: true}
	if got := c.All()["d"]; !reflect.DeepEqual(got, want) || len(c.All()) != 3 {
		t.Errorf("d: %+v", got)
	}
	if c.Add("x") == nil || c.Delete(1) == nil {
		t.Error("took in what is no class")
	}
}
