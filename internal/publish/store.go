package publish

import (
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/berth-storage/berth/internal/volume"
)

// Store is what is known of this node's PersistentVolumes: a few words of each,
// not the objects. It is fed by Client.WatchVolumes, and by Put with what the
// API server answered to a request.
type Store struct {
	changed func(volume.ID)
	listed  func()

	mu     sync.Mutex // guards the rest
	byID   map[volume.ID]volume.PV
	idOf   map[string]volume.ID // by PV name
	gone   map[volume.ID]string // the UID of the PV that was seen to be deleted, "" for one never seen
	synced bool
}

// NewStore returns an empty store that calls changed, from any goroutine, with
// the volume whose PV has changed, and listed when it has read a whole list.
func NewStore(changed func(volume.ID), listed func()) *Store {
	return &Store{changed: changed, listed: listed, byID: map[volume.ID]volume.PV{}, idOf: map[string]volume.ID{}, gone: map[volume.ID]string{}}
}

// Synced reports whether the first list has been read.
func (s *Store) Synced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced
}

// Get returns the PV of a volume, nil when there is none; absent says that this
// is certain, because its deletion was seen.
func (s *Store) Get(id volume.ID) (pv *volume.PV, absent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.byID[id]; ok {
		return &v, false
	}
	_, absent = s.gone[id]
	return nil, absent
}

// IDs returns the volumes that have a PV.
func (s *Store) IDs() []volume.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]volume.ID, 0, len(s.byID))
	for id := range s.byID {
		out = append(out, id)
	}
	return out
}

// Rival returns the name of a claimed PV that points at path and belongs to
// another volume than id, "" when there is none.
func (s *Store) Rival(id volume.ID, path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, pv := range s.byID {
		if other != id && pv.Path == path && pv.Claim != nil {
			return pv.Name
		}
	}
	return ""
}

// PutAbsent notes that the API server has said that the volume has no PV.
func (s *Store) PutAbsent(id volume.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pv := s.byID[id]
	delete(s.idOf, pv.Name)
	delete(s.byID, id)
	s.gone[id] = pv.UID
}

// Put takes in a PV as the API server has just answered it, unless the watch
// was faster and has shown a later form or the PV's end.
func (s *Store) Put(pv *corev1.PersistentVolume) {
	v, ok := View(pv)
	if !ok {
		return
	}
	id := volume.IDOf(v.Identity)
	s.mu.Lock()
	defer s.mu.Unlock()
	if uid, ok := s.gone[id]; ok && uid == v.UID {
		return
	}
	if old, ok := s.byID[id]; ok && old.UID == v.UID && !newer(v, old) {
		return
	}
	s.set(id, v)
}

// newer reports whether v is certainly a later form of the same PV.
func newer(v, old volume.PV) bool {
	order, err := resourceversion.CompareResourceVersion(v.ResourceVersion, old.ResourceVersion)
	return err == nil && order > 0
}

func (s *Store) set(id volume.ID, v volume.PV) {
	s.byID[id] = v
	s.idOf[v.Name] = id
	delete(s.gone, id)
}

// Add, Update, Delete, Replace and Resync make Store a cache.ReflectorStore.

// Add takes in a new PV.
func (s *Store) Add(obj any) error { return s.Update(obj) }

// Update takes in a PV's new form.
func (s *Store) Update(obj any) error {
	pv, ok := obj.(*corev1.PersistentVolume)
	if !ok {
		return fmt.Errorf("watching PVs: got a %T", obj)
	}
	v, ok := View(pv)
	if !ok {
		return nil
	}
	id := volume.IDOf(v.Identity)
	s.mu.Lock()
	s.set(id, v)
	s.mu.Unlock()
	s.changed(id)
	return nil
}

// Delete takes a PV out. One that was not being deleted has only left the
// watch, because its label was changed, and is not taken to be gone.
func (s *Store) Delete(obj any) error {
	pv, ok := obj.(*corev1.PersistentVolume)
	if !ok {
		return fmt.Errorf("watching PVs: got a %T", obj)
	}
	s.mu.Lock()
	id, ok := s.idOf[pv.Name]
	if ok && s.byID[id].UID == string(pv.UID) {
		delete(s.byID, id)
		delete(s.idOf, pv.Name)
		if pv.DeletionTimestamp != nil {
			s.gone[id] = string(pv.UID)
		}
	}
	s.mu.Unlock()
	if ok {
		s.changed(id)
	}
	return nil
}

// Replace takes in a whole list. A PV that is missing from it is forgotten, but
// not taken to be gone: a list may be old.
func (s *Store) Replace(objs []any, _ string) error {
	s.mu.Lock()
	touched := map[volume.ID]bool{}
	for id := range s.byID {
		touched[id] = true
	}
	s.byID = make(map[volume.ID]volume.PV, len(objs))
	s.idOf = make(map[string]volume.ID, len(objs))
	for _, obj := range objs {
		pv, ok := obj.(*corev1.PersistentVolume)
		if !ok {
			continue
		}
		if v, ok := View(pv); ok {
			id := volume.IDOf(v.Identity)
			s.set(id, v)
			touched[id] = true
		}
	}
	s.synced = true
	s.mu.Unlock()
	s.listed()
	for id := range touched {
		s.changed(id)
	}
	return nil
}

// Resync does nothing: nothing is ever resynced.
func (s *Store) Resync() error { return nil }
