package publish

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

// The methods that make a Store a cache.ReflectorStore for the watch of the
// labelled PVs, and oldStore one for the watch of those without a label.

// Add takes in a new PV.
func (s *Store) Add(obj any) error { return s.take(obj, false) }

// Update takes in a PV's new form.
func (s *Store) Update(obj any) error { return s.take(obj, false) }

// Delete takes a PV out. One that was not being deleted has only left the
// watch, because its label was changed, and is not taken to be gone.
func (s *Store) Delete(obj any) error {
	err := s.drop(obj, false)
	if pv, ok := obj.(*corev1.PersistentVolume); ok && s.on.Foreign(pv) {
		s.on.Unidentified(pv.Name) // so that what was said of it is taken back
	}
	return err
}

// Replace takes in a whole list. A PV that is missing from it is forgotten, but
// not taken to be gone: a list may be old.
func (s *Store) Replace(objs []any, _ string) error {
	s.replace(objs, false)
	s.mu.Lock()
	s.synced = true
	s.mu.Unlock()
	s.on.Listed()
	return nil
}

// Resync does nothing: nothing is ever resynced.
func (s *Store) Resync() error { return nil }

// Old returns the side of the store that takes in PVs without a label. None is
// called when it has none of them any more.
func (s *Store) Old(none func()) cache.ReflectorStore { return oldStore{s, none} }

type oldStore struct {
	*Store
	none func()
}

func (s oldStore) Add(obj any) error    { return s.take(obj, true) }
func (s oldStore) Update(obj any) error { return s.take(obj, true) }

func (s oldStore) Delete(obj any) error {
	err := s.drop(obj, true)
	s.check()
	return err
}

func (s oldStore) Replace(objs []any, _ string) error {
	s.replace(objs, true)
	s.check()
	return nil
}

func (s oldStore) check() {
	if len(s.OldPVs()) == 0 {
		s.none()
	}
}

func (s *Store) take(obj any, old bool) error {
	pv, ok := obj.(*corev1.PersistentVolume)
	if !ok {
		return fmt.Errorf("watching PVs: got a %T", obj)
	}
	v, ok := View(pv)
	if !ok || s.on.Foreign(pv) {
		return s.drop(obj, old) // it may have been this node's until now
	}
	s.mu.Lock()
	s.inherit(&v)
	s.set(entry{v, old})
	s.mu.Unlock()
	s.tell(v)
	return nil
}

// inherit gives a PV's new form the identity that was found out for the PV. The
// caller holds mu.
func (s *Store) inherit(v *volume.PV) {
	if known, ok := s.byName[v.Name]; ok && known.pv.UID == v.UID && v.Identity == "" {
		v.Identity = known.pv.Identity
	}
}

func (s *Store) drop(obj any, old bool) error {
	pv, ok := obj.(*corev1.PersistentVolume)
	if !ok {
		return fmt.Errorf("watching PVs: got a %T", obj)
	}
	s.mu.Lock()
	e, ok := s.byName[pv.Name]
	ok = ok && e.pv.UID == string(pv.UID) && e.old == old
	if ok {
		s.remove(pv.Name)
		_, labelled := pv.Labels[api.LabelNode]
		over := pv.DeletionTimestamp != nil || old && !labelled
		if over {
			s.ended[pv.Name] = e.pv.UID
		}
		if over && e.pv.Identity != "" {
			s.gone[volume.IDOf(e.pv.Identity)] = end{e.pv.UID, pv.Spec.ClaimRef == nil}
		}
	}
	s.mu.Unlock()
	if ok {
		s.tell(e.pv)
	}
	return nil
}

func (s *Store) replace(objs []any, old bool) {
	s.mu.Lock()
	touched := map[string]volume.PV{}
	before := map[string]entry{}
	for name, e := range s.byName {
		if e.old == old {
			touched[name], before[name] = e.pv, e
		}
	}
	listed := map[string]bool{}
	for _, obj := range objs {
		pv, ok := obj.(*corev1.PersistentVolume)
		if !ok {
			continue
		}
		if v, ok := View(pv); ok && !s.on.Foreign(pv) {
			s.inherit(&v)
			s.set(entry{v, old})
			touched[v.Name], listed[v.Name] = v, true
		}
	}
	for name := range before {
		if !listed[name] {
			s.remove(name)
		}
	}
	s.mu.Unlock()
	for _, pv := range touched {
		s.tell(pv)
	}
}
