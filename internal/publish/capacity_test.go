package publish

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/berth-storage/berth/api"
)

const capacityPath = "/apis/storage.k8s.io/v1/namespaces/berth/csistoragecapacities"

// capacityServer is an API server that has CSIStorageCapacity objects.
type capacityServer struct {
	t *testing.T

	mu      sync.Mutex // guards the rest
	objects map[string]storagev1.CSIStorageCapacity
	trail   []string // methods of the requests since it was last asked
	refuse  string   // requests of this method are refused
	writing func()   // called in each request that is no list, without the mutex
}

// capacities returns the capacities of a node and the server they go to.
func capacities(t *testing.T) (*Capacities, *capacityServer) {
	s := &capacityServer{t: t, objects: map[string]storagev1.CSIStorageCapacity{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	c, err := NewClient(&rest.Config{Host: server.URL}, "node-1")
	if err != nil {
		t.Fatal(err)
	}
	return c.NewCapacities("berth", testNode()), s
}

func (s *capacityServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	if s.writing != nil && r.Method != http.MethodGet {
		s.writing()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name, single := strings.CutPrefix(r.URL.Path, capacityPath+"/")
	o, there := s.objects[name]
	s.trail = append(s.trail, r.Method)
	missing := apierrors.NewNotFound(storagev1.Resource(csiCapacities), name)
	switch {
	case !single && r.URL.Path != capacityPath:
		s.t.Errorf("asked for %s", r.URL.Path)
	case s.refuse == r.Method:
		refuse(w, apierrors.NewServiceUnavailable("not now"))
	case r.Method == http.MethodGet:
		if got := r.URL.Query().Get("labelSelector"); got != api.LabelNode+"=node-1" {
			s.t.Errorf("asked for those with %q", got)
		}
		list := storagev1.CSIStorageCapacityList{}
		for _, o := range s.objects {
			if o.Labels[api.LabelNode] == "node-1" {
				list.Items = append(list.Items, o)
			}
		}
		list.Kind, list.APIVersion = "CSIStorageCapacityList", "storage.k8s.io/v1"
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list) // the client may be gone
	case r.Method == http.MethodPost:
		o, ok := s.decode(body).(*storagev1.CSIStorageCapacity)
		if _, there := s.objects[o.Name]; there || !ok {
			refuse(w, apierrors.NewAlreadyExists(storagev1.Resource(csiCapacities), o.Name))
			return
		}
		s.objects[o.Name] = *o
		answer(w, 201, "Status", metav1.Status{})
	case !there:
		refuse(w, missing)
	case r.Method == http.MethodDelete:
		delete(s.objects, name)
		answer(w, 200, "Status", metav1.Status{})
	default:
		if err := json.Unmarshal(body, &o); err != nil || r.Header.Get("Content-Type") != "application/merge-patch+json" {
			s.t.Errorf("patch %s: %v", body, err)
		}
		s.objects[name] = o
		answer(w, 200, "Status", metav1.Status{})
	}
}

func (s *capacityServer) decode(data []byte) kruntime.Object {
	scheme := kruntime.NewScheme()
	if err := storagev1.AddToScheme(scheme); err != nil {
		s.t.Fatal(err)
	}
	o, _, err := serializer.NewCodecFactory(scheme).UniversalDeserializer().Decode(data, nil, nil)
	if err != nil {
		s.t.Error(err)
	}
	return o
}

// did checks the requests since it was last asked, and what there is then, a
// class with its free and largest each.
func (s *capacityServer) did(requests string, want ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var has []string
	for _, o := range s.objects {
		has = append(has, fmt.Sprintf("%s %s %s", o.StorageClassName, o.Capacity, o.MaximumVolumeSize))
	}
	slices.Sort(has)
	if got := strings.Join(s.trail, " "); got != requests || !slices.Equal(has, want) {
		s.t.Errorf("did %q, so that there is %q; want %q and %q", got, has, requests, want)
	}
	s.trail = nil
}

func room(c ...Capacity) func() []Capacity { return func() []Capacity { return c } }

// Only what has changed is written, and read only at the start, in doubt, and
// after an error.
func TestCapacities(t *testing.T) {
	k, s := capacities(t)
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	fast, slow := Capacity{"fast", 10 << 30, 8 << 30}, Capacity{"slow", 0, 0}
	do(k.Update(t.Context(), room(fast, slow)))
	s.did("GET POST POST", "fast 10Gi 8Gi", "slow 0 0")
	do(k.Update(t.Context(), room(fast, slow)))
	s.did("", "fast 10Gi 8Gi", "slow 0 0")
	fast.Free = 9 << 30
	do(k.Update(t.Context(), room(slow, fast)))
	s.did("PATCH", "fast 9Gi 8Gi", "slow 0 0")
	do(k.Update(t.Context(), room(fast)))
	s.did("DELETE", "fast 9Gi 8Gi")

	for name, o := range s.objects { // as a restored database has it
		if name != k.name("fast") || o.Namespace != "berth" || o.Labels[api.LabelNode] != "node-1" || o.OwnerReferences[0].UID != "n-uid" ||
			o.OwnerReferences[0].Kind != "Node" || o.NodeTopology.MatchLabels[api.LabelNode] != "node-1" {
			t.Errorf("%s: %+v", name, o)
		}
		o.Capacity = resource.NewQuantity(77<<30, resource.BinarySI)
		s.objects[name] = o
	}
	do(k.Update(t.Context(), room(fast)))
	s.did("", "fast 77Gi 8Gi")
	do(k.Renew(t.Context(), room(fast)))
	s.did("GET PATCH", "fast 9Gi 8Gi")
	do(k.Renew(t.Context(), room(fast)))
	s.did("GET", "fast 9Gi 8Gi")

	delete(s.objects, k.name("fast")) // by hand
	fast.Free--
	do(k.Update(t.Context(), room(fast)))
	s.did("PATCH POST", "fast 9663676415 8Gi")

	s.refuse = http.MethodPatch
	fast.Free--
	if err := k.Update(t.Context(), room(fast)); err == nil || !strings.Contains(err.Error(), "class fast") {
		t.Errorf("%v, want an error that names the class", err)
	}
	s.refuse = ""
	s.did("PATCH", "fast 9663676415 8Gi")
	do(k.Update(t.Context(), room(fast)))
	s.did("GET PATCH", "fast 9663676414 8Gi")
}

// What an earlier life, or an earlier Node object of that name, has left is
// taken over or replaced; another node's is let be.
func TestCapacitiesAfterAStart(t *testing.T) {
	k, s := capacities(t)
	fast := Capacity{"fast", 1 << 30, 1 << 30}
	for class, edit := range map[string]func(*storagev1.CSIStorageCapacity){
		"fast":  func(*storagev1.CSIStorageCapacity) {},
		"left":  func(*storagev1.CSIStorageCapacity) {},
		"older": func(o *storagev1.CSIStorageCapacity) { o.OwnerReferences[0].UID = "n-uid-before" },
		"wider": func(o *storagev1.CSIStorageCapacity) { o.NodeTopology = nil },
		"bare":  func(o *storagev1.CSIStorageCapacity) { o.Labels = nil },
		"other": func(o *storagev1.CSIStorageCapacity) { o.Name, o.Labels[api.LabelNode] = "berth-other", "node-2" },
	} {
		o := k.object(k.name(class), Capacity{class, 1 << 30, 1 << 30})
		edit(o)
		s.objects[o.Name] = *o
	}
	if err := k.Update(t.Context(), room(fast, Capacity{"older", 2 << 30, 1 << 30}, Capacity{"wider", 2 << 30, 1 << 30}, Capacity{"bare", 2 << 30, 1 << 30})); err != nil {
		t.Error(err)
	}
	s.did("GET DELETE DELETE POST POST POST DELETE POST DELETE", "bare 2Gi 1Gi", "fast 1Gi 1Gi", "older 2Gi 1Gi", "other 1Gi 1Gi", "wider 2Gi 1Gi")
	for _, class := range []string{"older", "wider", "bare"} {
		if o := s.objects[k.name(class)]; !k.mine(&o) {
			t.Errorf("%s: %+v", class, o)
		}
	}
}

// TestCapacitiesTogether: of many changes at once few are written, each caller
// returns when what it knew is written, and the last one is what stays.
func TestCapacitiesTogether(t *testing.T) {
	k, s := capacities(t)
	if err := k.Update(t.Context(), room(Capacity{"fast", 1000, 1000})); err != nil {
		t.Fatal(err)
	}
	begun, hold := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.writing = func() { once.Do(func() { close(begun); <-hold }) }
	var mu sync.Mutex
	free := int64(1000)
	now := func() []Capacity {
		mu.Lock()
		defer mu.Unlock()
		return []Capacity{{"fast", free, free}}
	}
	const callers = 100
	var working sync.WaitGroup
	carve := func() {
		mu.Lock()
		free--
		mine := free
		mu.Unlock()
		if err := k.Update(t.Context(), now); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if o := s.objects[k.name("fast")]; o.Capacity.Value() > mine {
			t.Errorf("returned at %s, and had left %d", o.Capacity, mine)
		}
	}
	working.Go(carve)
	<-begun
	for range callers {
		working.Go(carve)
	}
	for all := false; !all; runtime.Gosched() {
		k.mu.Lock()
		all = k.asked == callers+2
		k.mu.Unlock()
	}
	close(hold)
	working.Wait()
	s.did("GET POST PATCH PATCH", "fast 899 899") // one that was under way, and one for all others
}
