package recovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
)

const delay = time.Minute

// world is an API server, the kubelets and what has happened, outliving the
// controllers. Its clock is the test's bubble's.
type world struct {
	t     *testing.T
	begun time.Time

	mu        sync.Mutex
	nodes     map[string]*corev1.Node
	pvs       map[string]*corev1.PersistentVolume
	claims    map[string]*corev1.PersistentVolumeClaim
	leases    map[string]*coordinationv1.Lease // by namespace/name
	serial    int
	down      bool
	conflicts int             // so many changes of PVs come too late
	deny      map[string]bool // verbs that are forbidden, as "patch persistentvolumes"
	answering string          // the address at which a kubelet answers
	trail     []string        // what was changed, and after how many seconds
	events    []string        // kind/name reason
	log       bytes.Buffer
	watcher   *controller
}

func newWorld(t *testing.T) *world {
	return &world{t: t, begun: time.Now(), nodes: map[string]*corev1.Node{}, pvs: map[string]*corev1.PersistentVolume{},
		claims: map[string]*corev1.PersistentVolumeClaim{}, leases: map[string]*coordinationv1.Lease{}, deny: map[string]bool{}}
}

// addNode adds a node whose hostname is its name and "-host".
func (w *world) addNode(name string) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name + "-host"}}}
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}}
	n.Status.DaemonEndpoints.KubeletEndpoint.Port = 10250
	w.mu.Lock()
	w.nodes[name] = n
	c := w.watcher
	w.mu.Unlock()
	if c != nil {
		w.ok(c.nodes.Add(n))
	}
}

// addUnseen adds a node that no watch shows.
func (w *world) addUnseen(name string, labels map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[name] = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

func (w *world) removeNode(name string) {
	w.mu.Lock()
	n := w.nodes[name]
	delete(w.nodes, name)
	c := w.watcher
	w.mu.Unlock()
	if c != nil {
		w.ok(c.nodes.Delete(n))
	}
}

// addPV adds a volume of a node, for a claim unless that is "".
func (w *world) addPV(name, node, claim string) {
	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name + "-uid"), Finalizers: []string{api.Finalizer},
		Annotations: map[string]string{api.AnnProvisionedBy: "local-volume-provisioner-" + node + "-" + uid}}}
	pv.Spec.Local = &corev1.LocalVolumeSource{Path: "/mnt/" + name}
	pv.Spec.StorageClassName, pv.Spec.PersistentVolumeReclaimPolicy = "fast", corev1.PersistentVolumeReclaimDelete
	pv.Spec.NodeAffinity = affinity(pinned(node + "-host"))
	pv.Status.Phase = corev1.VolumeAvailable
	if claim != "" {
		c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: claim, UID: types.UID(claim + "-uid")}}
		c.Spec.VolumeName = name
		pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: claim, UID: c.UID}
		pv.Status.Phase = corev1.VolumeBound
		w.claims["ns/"+claim] = c
	}
	w.change(pv)
}

// addCarved adds a volume that was carved on a node for a claim.
func (w *world) addCarved(name, node, claim string) {
	w.addPV(name, node, claim)
	pv := w.pvs[name].DeepCopy()
	made := publish.CarvedVolume(publish.CarvedSpec{Name: name, Handle: "x/pool/" + name}, publish.Node{Name: node})
	pv.Labels, pv.Annotations, pv.Spec.NodeAffinity = made.Labels, made.Annotations, made.Spec.NodeAffinity
	pv.Spec.Local, pv.Spec.CSI = nil, made.Spec.CSI
	w.change(pv)
}

// change makes a PV what it is given as, and shows it to the watcher.
func (w *world) change(pv *corev1.PersistentVolume) {
	w.mu.Lock()
	w.serial++
	pv = pv.DeepCopy()
	pv.ResourceVersion = strconv.Itoa(w.serial)
	gone := pv.DeletionTimestamp != nil && len(pv.Finalizers) == 0
	if gone {
		delete(w.pvs, pv.Name)
		w.note("PV " + pv.Name + " is gone")
	} else {
		w.pvs[pv.Name] = pv
	}
	c := w.watcher
	w.mu.Unlock()
	switch {
	case c == nil:
	case gone:
		w.ok(c.volumes.Delete(pv))
	default:
		w.ok(c.volumes.Update(pv))
	}
}

// beat renews a node's Lease.
func (w *world) beat(node string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, seconds := metav1.NowMicro(), int32(40)
	w.leases[leaseNamespace+"/"+node] = &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &now, LeaseDurationSeconds: &seconds}}
}

func (w *world) ok(err error) {
	if err != nil {
		w.t.Error(err)
	}
}

// note adds to the trail. The caller holds mu.
func (w *world) note(what string) {
	w.trail = append(w.trail, fmt.Sprintf("%s %.0f", what, time.Since(w.begun).Seconds()))
}

// life starts a controller, which leads until stop is called or the test ends.
func (w *world) life() (stop func()) {
	log := slog.New(slog.NewTextHandler(lockedWriter{w}, nil))
	o := Options{Classes: []string{"fast"}, Workers: 3, Delay: delay, StaleInterval: 10 * time.Second, Resync: 10 * time.Minute, MetricsPath: "/metrics", Log: log}
	c := newController(o, w, func(_ context.Context, address string, _ []string) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return address == w.answering
	}, newMetrics())
	w.mu.Lock()
	w.watcher = c
	var nodes, pvs []any
	for _, n := range w.nodes {
		nodes = append(nodes, n)
	}
	for _, pv := range w.pvs {
		pvs = append(pvs, pv)
	}
	w.mu.Unlock()
	w.ok(c.nodes.Replace(nodes, ""))
	w.ok(c.volumes.Replace(pvs, ""))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); c.lead(ctx) }()
	return func() {
		cancel()
		<-ended
		w.mu.Lock()
		w.watcher = nil
		w.mu.Unlock()
	}
}

type lockedWriter struct{ w *world }

func (l lockedWriter) Write(p []byte) (int, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.log.Write(p)
}

// said is how often the log has a text.
func (w *world) said(text string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.log.String(), text)
}

// at waits until so many seconds have passed since the beginning.
func (w *world) at(seconds int) {
	time.Sleep(time.Until(w.begun.Add(time.Duration(seconds) * time.Second)))
	synctest.Wait()
}

// happened checks what was changed since it was last asked.
func (w *world) happened(want ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.trail)
	slices.Sort(want)
	if !slices.Equal(w.trail, want) {
		w.t.Errorf("happened:\n%s\nwant:\n%s\nlog:\n%s", strings.Join(w.trail, "\n"), strings.Join(want, "\n"), w.log.String())
	}
	w.trail = nil
}

// told checks the events since it was last asked.
func (w *world) told(want ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.events)
	slices.Sort(want)
	if !slices.Equal(w.events, want) {
		w.t.Errorf("events %q, want %q", w.events, want)
	}
	w.events = nil
}

var errAway = errors.New("connection refused")

func (w *world) may(verb, resource string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return errAway
	}
	if w.deny[verb+" "+resource] {
		return fmt.Errorf("trying: %w", apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "x", errors.New("no rule")))
	}
	return nil
}

// The rest is the API server.

func (w *world) NodeNamed(_ context.Context, name string) (bool, error) {
	err := w.may("get", "nodes")
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[name] != nil, err
}

func (w *world) NodeWithHostname(_ context.Context, hostname string) (string, error) {
	err := w.may("list", "nodes")
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, n := range w.nodes {
		if n.Labels[corev1.LabelHostname] == hostname {
			return name, err
		}
	}
	return "", err
}

func (w *world) Lease(_ context.Context, namespace, name string) (*coordinationv1.Lease, error) {
	err := w.may("get", "leases")
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leases[namespace+"/"+name].DeepCopy(), err
}

func (w *world) Claim(_ context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error) {
	err := w.may("get", "persistentvolumeclaims")
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.claims[namespace+"/"+name].DeepCopy(), err
}

func (w *world) DeleteClaim(_ context.Context, claim Claim) error {
	if err := w.may("delete", "persistentvolumeclaims"); err != nil {
		return err
	}
	w.mu.Lock()
	key := claim.Namespace + "/" + claim.Name
	c := w.claims[key]
	if c == nil || string(c.UID) != claim.UID {
		w.mu.Unlock()
		w.t.Errorf("asked to delete claim %v, which is not there", claim)
		return apierrors.NewConflict(schema.GroupResource{Resource: "persistentvolumeclaims"}, claim.Name, errors.New("another UID"))
	}
	delete(w.claims, key)
	w.note("claim " + claim.Name + " deleted")
	pv := w.pvs[c.Spec.VolumeName].DeepCopy()
	w.mu.Unlock()
	if pv != nil {
		pv.Status.Phase = corev1.VolumeReleased
		w.change(pv)
	}
	return nil
}

// edit changes a PV, if it is still as it was seen.
func (w *world) edit(verb string, v Volume, edit func(*corev1.PersistentVolume)) error {
	if err := w.may(verb, "persistentvolumes"); err != nil {
		return err
	}
	w.mu.Lock()
	pv := w.pvs[v.Name].DeepCopy()
	late := pv == nil || string(pv.UID) != v.UID || pv.ResourceVersion != v.ResourceVersion
	if w.conflicts > 0 {
		w.conflicts--
		late = true
	}
	w.mu.Unlock()
	if late {
		return apierrors.NewConflict(schema.GroupResource{Resource: "persistentvolumes"}, v.Name, errors.New("it has changed"))
	}
	edit(pv)
	w.change(pv)
	return nil
}

func (w *world) DeletePV(_ context.Context, v Volume) error {
	return w.edit("delete", v, func(pv *corev1.PersistentVolume) {
		now := metav1.Now()
		pv.DeletionTimestamp = &now
		w.mu.Lock()
		w.note("PV " + v.Name + " deleted")
		w.mu.Unlock()
	})
}

func (w *world) LetGo(_ context.Context, v Volume) error {
	return w.edit("patch", v, func(pv *corev1.PersistentVolume) {
		pv.Finalizers = slices.DeleteFunc(pv.Finalizers, func(f string) bool { return f == api.Finalizer })
	})
}

func (w *world) Annotate(_ context.Context, v Volume, annotations map[string]*string) error {
	return w.edit("patch", v, func(pv *corev1.PersistentVolume) {
		pv.Annotations = maps.Clone(pv.Annotations)
		for name, value := range annotations {
			delete(pv.Annotations, name)
			if value != nil {
				pv.Annotations[name] = *value
			}
		}
	})
}

func (w *world) Event(_ context.Context, e *corev1.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e.InvolvedObject.Name+" "+e.Reason)
	return nil
}

func (w *world) annotation(pv, name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pvs[pv] == nil {
		return "the PV is gone"
	}
	return w.pvs[pv].Annotations[name]
}
