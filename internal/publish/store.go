package publish

import (
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/volume"
)

// Store is what is known of this node's PersistentVolumes: a few words of each,
// not the objects. It is fed by Client.WatchVolumes and Client.WatchOld, and by
// Put with what the API server answered to a request.
//
// A PV that the established provisioner made does not say which disk it is of.
// It is unidentified until Identify, and no volume's until then.
type Store struct {
	on Handlers

	mu     sync.Mutex // guards the rest
	byName map[string]entry
	names  map[volume.ID][]string // of the identified PVs
	gone   map[volume.ID]end
	ended  map[string]string // by name, the UID of the last PV whose end was seen
	synced bool
}

// Handlers are called by a Store, from any goroutine.
type Handlers struct {
	Changed      func(volume.ID)                        // a volume's PV has come, gone or changed
	Unidentified func(name string)                      // an unidentified PV has come or changed
	Foreign      func(pv *corev1.PersistentVolume) bool // says whether a PV is not this node's
	Listed       func()                                 // a whole list has been read
}

type entry struct {
	pv  volume.PV
	old bool // it has no label: only WatchOld sees it
}

// end is the end of a volume's PV.
type end struct {
	uid       string
	unclaimed bool // its end was watched, and no claim had it
}

// NewStore returns an empty store.
func NewStore(on Handlers) *Store {
	return &Store{on: on, byName: map[string]entry{}, names: map[volume.ID][]string{}, gone: map[volume.ID]end{}, ended: map[string]string{}}
}

// Synced reports whether the first list has been read.
func (s *Store) Synced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced
}

// Get returns the PVs of a volume, the one that a claim has first. There is more
// than one only where somebody copied one. Absent says that it is certain that
// there is none, because its deletion was seen; left is its UID if no claim had
// it then.
func (s *Store) Get(id volume.ID) (pvs []volume.PV, absent bool, left string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.names[id] {
		pvs = append(pvs, s.byName[name].pv)
	}
	slices.SortFunc(pvs, func(a, b volume.PV) int {
		if (a.Claim == nil) != (b.Claim == nil) {
			if a.Claim != nil {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	e, absent := s.gone[id]
	if e.unclaimed {
		left = e.uid
	}
	return pvs, absent, left
}

// IDs returns the volumes that have a PV.
func (s *Store) IDs() []volume.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.names))
}

// Unidentified returns the unidentified PVs for which match, if set, is true.
func (s *Store) Unidentified(match func(volume.PV) bool) (out []volume.PV) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.byName {
		if e.pv.Identity == "" && (match == nil || match(e.pv)) {
			out = append(out, e.pv)
		}
	}
	return out
}

// Identify says which disk a PV is of.
func (s *Store) Identify(pv volume.PV, identity disk.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.byName[pv.Name]; ok && e.pv.UID == pv.UID && e.pv.Identity == "" {
		e.pv.Identity = identity
		s.set(e)
	}
}

// Any reports whether match is true for a PV.
func (s *Store) Any(match func(volume.PV) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.byName {
		if match(e.pv) {
			return true
		}
	}
	return false
}

// OldPVs returns the PVs without a label.
func (s *Store) OldPVs() (out []volume.PV) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.byName {
		if e.old {
			out = append(out, e.pv)
		}
	}
	return out
}

// old reports whether a PV without a label has this name.
func (s *Store) old(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byName[name].old
}

// Rival returns the name of a claimed PV that points at path and belongs to
// another volume than id, "" when there is none. A carved one points at none.
func (s *Store) Rival(id volume.ID, path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.byName {
		if e.pv.Handle == "" && e.pv.Path == path && e.pv.Claim != nil && (e.pv.Identity == "" || volume.IDOf(e.pv.Identity) != id) {
			return e.pv.Name
		}
	}
	return ""
}

// PutAbsent notes that the API server has said that the volume has no PV.
func (s *Store) PutAbsent(id volume.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	uid := ""
	for _, name := range slices.Clone(s.names[id]) {
		uid = s.byName[name].pv.UID
		s.ended[name] = uid
		s.remove(name)
	}
	s.gone[id] = end{uid: uid}
}

// Missing notes that the API server has said that a PV does not exist any more.
func (s *Store) Missing(pv volume.PV) {
	s.mu.Lock()
	e, ok := s.byName[pv.Name]
	if ok = ok && e.pv.UID == pv.UID; ok {
		s.remove(pv.Name)
		s.ended[pv.Name] = pv.UID
		if e.pv.Identity != "" {
			s.gone[volume.IDOf(e.pv.Identity)] = end{uid: pv.UID}
		}
	}
	s.mu.Unlock()
	if ok {
		s.tell(e.pv)
	}
}

// Put takes in a PV as the API server has just answered it, unless the watch
// was faster and has shown a later form or the PV's end. Old says that it has no
// label.
func (s *Store) Put(pv *corev1.PersistentVolume, old bool) {
	v, ok := View(pv)
	if !ok || s.on.Foreign(pv) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.byName[v.Name]
	if ok && known.pv.UID == v.UID {
		if !newer(v, known.pv) {
			return
		}
		if v.Identity == "" {
			v.Identity = known.pv.Identity
		}
	}
	if s.ended[v.Name] != v.UID {
		s.set(entry{v, old})
	}
}

// newer reports whether v is certainly a later form of the same PV.
func newer(v, old volume.PV) bool {
	order, err := resourceversion.CompareResourceVersion(v.ResourceVersion, old.ResourceVersion)
	return err == nil && order > 0
}

// set and remove change an entry and what is kept of it elsewhere. The caller
// holds mu.
func (s *Store) set(e entry) {
	s.remove(e.pv.Name)
	s.byName[e.pv.Name] = e
	if e.pv.Identity != "" {
		id := volume.IDOf(e.pv.Identity)
		s.names[id] = append(s.names[id], e.pv.Name)
		delete(s.gone, id)
	}
}

func (s *Store) remove(name string) {
	e, ok := s.byName[name]
	if !ok {
		return
	}
	delete(s.byName, name)
	if e.pv.Identity == "" {
		return
	}
	id := volume.IDOf(e.pv.Identity)
	s.names[id] = slices.DeleteFunc(s.names[id], func(n string) bool { return n == name })
	if len(s.names[id]) == 0 {
		delete(s.names, id)
	}
}

// tell announces a PV that has changed.
func (s *Store) tell(pv volume.PV) {
	if pv.Identity == "" {
		s.on.Unidentified(pv.Name)
		return
	}
	s.on.Changed(volume.IDOf(pv.Identity))
}
