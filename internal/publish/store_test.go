package publish

import (
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/volume"
)

const id1, id2 = disk.ID("fs:0001:/"), disk.ID("fs:0002:/")

func pvOf(name string, identity disk.ID, uid, version string) *corev1.PersistentVolume {
	pv := PersistentVolume(testSpec(func(s *Spec) { s.Name, s.Identity = name, identity }), testNode())
	pv.UID, pv.ResourceVersion = types.UID(uid), version
	return pv
}

// deleted is a PV's last form: the finalizers have let it be deleted in two
// steps.
func deleted(pv *corev1.PersistentVolume) *corev1.PersistentVolume {
	now := metav1.Now()
	pv.DeletionTimestamp, pv.Finalizers = &now, nil
	return pv
}

// watchedStore is a store with what it has announced.
type watchedStore struct {
	*Store
	t       *testing.T
	changed []volume.ID
	unknown []string
	foreign map[string]bool
	lists   int
}

func newStore(t *testing.T) *watchedStore {
	w := &watchedStore{t: t, foreign: map[string]bool{}}
	w.Store = NewStore(Handlers{
		Changed:      func(id volume.ID) { w.changed = append(w.changed, id) },
		Unidentified: func(name string) { w.unknown = append(w.unknown, name) },
		Foreign:      func(pv *corev1.PersistentVolume) bool { return w.foreign[pv.Name] },
		Listed:       func() { w.lists++ },
	})
	return w
}

func (w *watchedStore) do(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// is checks what the store says of a volume: uid "" is none, version "" any.
func (w *watchedStore) is(identity disk.ID, uid, version string, absent bool) {
	w.t.Helper()
	pvs, gone, _ := w.Get(volume.IDOf(identity))
	var pv *volume.PV
	if len(pvs) > 0 {
		pv = &pvs[0]
	}
	if gone != absent || (pv == nil) != (uid == "") || pv != nil && (pv.UID != uid || version != "" && pv.ResourceVersion != version) {
		w.t.Fatalf("%s: got %+v, absent %v; want UID %q, version %q, absent %v", identity, pv, gone, uid, version, absent)
	}
}

// announced checks which volumes were announced since it was last asked.
func (w *watchedStore) announced(want ...disk.ID) {
	w.t.Helper()
	var ids []volume.ID
	for _, identity := range want {
		ids = append(ids, volume.IDOf(identity))
	}
	slices.Sort(ids)
	slices.Sort(w.changed)
	if !slices.Equal(w.changed, ids) {
		w.t.Fatalf("announced %q, want %q", w.changed, ids)
	}
	w.changed = nil
}

func TestStoreFollowsTheWatch(t *testing.T) {
	s := newStore(t)
	s.is(id1, "", "", false)
	s.do(s.Add(pvOf("pv1", id1, "u1", "1")))
	s.announced(id1)
	s.is(id1, "u1", "1", false)
	s.do(s.Update(pvOf("pv1", id1, "u1", "2")))
	s.announced(id1)
	s.is(id1, "u1", "2", false)
	s.do(s.Delete(deleted(pvOf("pv1", id1, "u1", "3"))))
	s.announced(id1)
	s.is(id1, "", "", true)
	s.do(s.Add(pvOf("pv1", id1, "u2", "4")))
	s.is(id1, "u2", "4", false)
	s.is(id2, "", "", false)
	for _, err := range []error{s.Add("x"), s.Update(nil), s.Delete(5)} {
		if err == nil {
			t.Error("took in what is no PV")
		}
	}
	s.do(s.Resync())
}

func TestStoreOfAnothersPV(t *testing.T) {
	s := newStore(t)
	other := pvOf("pv1", id1, "u1", "1")
	s.foreign["pv1"] = true
	s.do(s.Add(other))
	s.Put(other, false)
	s.do(s.Delete(other))
	s.do(s.Replace([]any{other, "x"}, "1"))
	s.announced()
	if ids := s.IDs(); len(ids) != 0 {
		t.Errorf("volumes %q, want none", ids)
	}
}

// A PV that a list does not show may exist: the list may be old.
func TestMissingFromAListIsNotAbsent(t *testing.T) {
	s := newStore(t)
	if s.Synced() {
		t.Error("synced before the first list")
	}
	s.do(s.Add(pvOf("pv1", id1, "u1", "1")))
	s.announced(id1)
	s.do(s.Replace([]any{pvOf("pv2", id2, "u2", "2")}, "2"))
	s.announced(id1, id2)
	s.is(id1, "", "", false)
	s.is(id2, "u2", "2", false)
	if !s.Synced() || s.lists != 1 {
		t.Errorf("synced %v, lists %d", s.Synced(), s.lists)
	}
	if ids := s.IDs(); !reflect.DeepEqual(ids, []volume.ID{volume.IDOf(id2)}) {
		t.Errorf("volumes %q", ids)
	}
}

// A deletion that was seen is not forgotten with the next list, and one of an
// older PV says nothing of a newer.
func TestDeletionsByUID(t *testing.T) {
	s := newStore(t)
	s.do(s.Add(pvOf("pv1", id1, "u1", "1")))
	s.Put(pvOf("pv1", id1, "u2", "3"), false)
	s.is(id1, "u2", "3", false)
	s.do(s.Delete(deleted(pvOf("pv1", id1, "u1", "2"))))
	s.is(id1, "u2", "3", false)
	s.do(s.Delete(deleted(pvOf("pv1", id1, "u2", "4"))))
	s.do(s.Replace(nil, "5"))
	s.is(id1, "", "", true)
}

// An answer to a request may come after the watch has shown more.
func TestLateAnswers(t *testing.T) {
	s := newStore(t)
	s.Put(pvOf("pv1", id1, "u1", "10"), false)
	s.announced() // whoever asked looks at it anyway
	s.is(id1, "u1", "10", false)
	s.Put(pvOf("pv1", id1, "u1", "9"), false)
	s.is(id1, "u1", "10", false)
	s.Put(pvOf("pv1", id1, "u1", "11"), false)
	s.is(id1, "u1", "11", false)
	s.do(s.Update(pvOf("pv1", id1, "u1", "12")))
	s.do(s.Delete(deleted(pvOf("pv1", id1, "u1", "13"))))
	s.Put(pvOf("pv1", id1, "u1", "11"), false)
	s.is(id1, "", "", true)
	s.Put(pvOf("pv1", id1, "u2", "14"), false)
	s.is(id1, "u2", "14", false)
}

func TestPutAbsent(t *testing.T) {
	s := newStore(t)
	s.PutAbsent(volume.IDOf(id2))
	s.is(id2, "", "", true)
	s.do(s.Add(pvOf("pv1", id1, "u1", "1")))
	s.PutAbsent(volume.IDOf(id1))
	s.is(id1, "", "", true)
	s.Put(pvOf("pv1", id1, "u1", "1"), false) // an answer from before
	s.is(id1, "", "", true)
}

func TestRival(t *testing.T) {
	s := newStore(t)
	pv := pvOf("pv1", id1, "u1", "1")
	s.do(s.Add(pv))
	rival := func(identity disk.ID, path, want string) {
		t.Helper()
		if got := s.Rival(volume.IDOf(identity), path); got != want {
			t.Errorf("%s at %s: %q, want %q", identity, path, got, want)
		}
	}
	rival(id2, "/mnt/disks/d1", "") // no claim has it
	pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: "a"}
	s.do(s.Update(pv))
	rival(id2, "/mnt/disks/d1", "pv1")
	rival(id2, "/mnt/disks/d2", "")
	rival(id1, "/mnt/disks/d1", "")
	s.do(s.Delete(pv))
	rival(id2, "/mnt/disks/d1", "")
}

// A PV whose label was changed leaves the watch and still exists.
func TestLabelLost(t *testing.T) {
	s := newStore(t)
	s.do(s.Add(pvOf("pv1", id1, "u1", "1")))
	s.do(s.Delete(pvOf("pv1", id1, "u1", "2")))
	s.is(id1, "", "", false)
}
