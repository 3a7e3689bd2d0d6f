package placement

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

const gi = int64(1) << 30

func claimObject(name string, edit ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	class := "fast"
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name + "-uid")}}
	metav1.SetMetaDataAnnotation(&c.ObjectMeta, annProvisioner, api.Driver)
	c.Spec.StorageClassName = &class
	c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(gi, resource.BinarySI)}
	for _, e := range edit {
		e(c)
	}
	return c
}

// unannounced makes a claim one that Kubernetes' controller manager has yet to see.
func unannounced(c *corev1.PersistentVolumeClaim) {
	if delete(c.Annotations, annProvisioner); len(c.Annotations) == 0 {
		c.Annotations = nil
	}
}

func chosen(node string) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) {
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, publish.AnnSelectedNode, node)
	}
}

func labelled(node string) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) { metav1.SetMetaDataLabel(&c.ObjectMeta, api.LabelNode, node) }
}

func ofClass(name string) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = &name }
}

func asking(bytes int64) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) {
		c.Spec.Resources.Requests[corev1.ResourceStorage] = *resource.NewQuantity(bytes, resource.BinarySI)
	}
}

func classObject(name string, immediate bool, pool string) *storagev1.StorageClass {
	mode := storagev1.VolumeBindingWaitForFirstConsumer
	if immediate {
		mode = storagev1.VolumeBindingImmediate
	}
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: api.Driver, VolumeBindingMode: &mode, Parameters: map[string]string{"pool": pool}}
}

func nodeObject(name string, ready bool) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"zone": "a"}}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if !ready {
		n.Status.Conditions[0].Status = corev1.ConditionUnknown
	}
	return n
}

func roomObject(class, node string, free, largest int64) *storagev1.CSIStorageCapacity {
	return &storagev1.CSIStorageCapacity{ObjectMeta: metav1.ObjectMeta{Namespace: "berth", Name: class + "-" + node, Labels: map[string]string{api.LabelNode: node}},
		StorageClassName: class, Capacity: resource.NewQuantity(free, resource.BinarySI), MaximumVolumeSize: resource.NewQuantity(largest, resource.BinarySI)}
}

// patched does a JSON patch as the API server's library does it: a test of null
// holds where nothing is, also beside nothing; whatever is beneath what is not
// there fails.
func patched(object any, steps []publish.PatchOp) (map[string]any, bool) {
	doc := map[string]any{}
	again(object, &doc)
	for _, s := range steps {
		var step struct {
			Op, Path string
			Value    any
		}
		again(s, &step)
		names := strings.Split(strings.TrimPrefix(step.Path, "/"), "/")
		in := doc
		for _, name := range names[:len(names)-1] {
			next, ok := in[unescape(name)].(map[string]any)
			if !ok {
				return nil, false
			}
			in = next
		}
		last := unescape(names[len(names)-1])
		has, there := in[last]
		switch {
		case step.Op == "test" && !reflect.DeepEqual(has, step.Value), step.Op == "remove" && !there:
			return nil, false
		case step.Op == "add":
			in[last] = step.Value
		case step.Op == "remove":
			delete(in, last)
		}
	}
	return doc, true
}

func unescape(name string) string { return strings.NewReplacer("~1", "/", "~0", "~").Replace(name) }

// again makes into of what from is as JSON.
func again(from, into any) {
	data, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		panic(err)
	}
}

// server is an API server that shows its claims to a controller.
type server struct {
	t *testing.T
	c *Controller

	mu     sync.Mutex // guards the rest
	claims map[string]*corev1.PersistentVolumeClaim
	nodes  map[string]bool
	events []string
	tries  int
	hidden bool  // the watch does not show what is patched
	deaf   bool  // what is patched is not answered
	fail   error // what patches are answered with
	log    bytes.Buffer
}

func newServer(t *testing.T) *server {
	s := &server{t: t, claims: map[string]*corev1.PersistentVolumeClaim{}, nodes: map[string]bool{}}
	log := slog.New(slog.NewTextHandler(lockedWriter{s}, nil))
	s.c = newController(Options{Workers: 4, Identity: "me", Log: log}, s, prometheus.NewRegistry())
	for _, err := range []error{s.c.claims.Replace(nil, ""), s.c.rooms.Replace(nil, ""), s.c.nodes.Replace(nil, ""),
		s.c.classes.Replace([]any{classObject("fast", false, ""), classObject("now", true, "p"), classObject("now-too", true, "p"), classObject("now-other", true, "q")}, "")} {
		s.ok(err)
	}
	return s
}

type lockedWriter struct{ s *server }

func (l lockedWriter) Write(p []byte) (int, error) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.s.log.Write(p)
}

func (s *server) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Error(err)
	}
}

// lead has the controller lead until the test or stop ends it.
func (s *server) lead() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.c.Lead(ctx) }()
	return func() { cancel(); <-ended }
}

func (s *server) addNode(name string, ready bool) {
	s.mu.Lock()
	s.nodes[name] = true
	s.mu.Unlock()
	s.ok(s.c.nodes.Update(nodeObject(name, ready)))
}

func (s *server) put(c *corev1.PersistentVolumeClaim) {
	s.mu.Lock()
	s.claims[c.Name] = c
	s.mu.Unlock()
	s.ok(s.c.claims.Update(c))
}

// Patch is part of cluster.
func (s *server) Patch(_ context.Context, claim volume.Claim, steps []publish.PatchOp) (bool, error) {
	s.mu.Lock()
	s.tries++
	c, fail, hidden := s.claims[claim.Name], s.fail, s.hidden
	if fail != nil || c == nil || string(c.UID) != claim.UID {
		s.mu.Unlock()
		return false, fail
	}
	doc, done := patched(c, steps)
	if !done {
		s.mu.Unlock()
		return false, nil
	}
	now := &corev1.PersistentVolumeClaim{}
	again(doc, now)
	s.claims[claim.Name] = now
	deaf := s.deaf
	s.mu.Unlock()
	if deaf {
		return false, errors.New("no answer")
	}
	if !hidden {
		s.ok(s.c.claims.Update(now))
	}
	return true, nil
}

// NodeNamed is part of cluster.
func (s *server) NodeNamed(_ context.Context, name string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes[name], s.fail
}

// Event is part of cluster.
func (s *server) Event(_ context.Context, e *corev1.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, fmt.Sprintf("%s %s: %s", e.InvolvedObject.Name, e.Reason, e.Message))
	return nil
}

// told are the events so far.
func (s *server) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// has checks where the claims are: name, choice and label.
func (s *server) has(want ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []string
	for _, name := range slices.Sorted(maps.Keys(s.claims)) {
		c := s.claims[name]
		got = append(got, fmt.Sprintf("%s %s/%s", name, c.Annotations[publish.AnnSelectedNode], c.Labels[api.LabelNode]))
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("claims %q, want %q\n%s", got, want, s.log.String())
	}
}
