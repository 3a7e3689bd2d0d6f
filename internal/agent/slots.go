package agent

import (
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/volume"
)

// slots is what discovery knows: each entry, and the disk behind it once that
// was looked at.
type slots struct {
	mu      sync.Mutex // guards the rest
	byKey   map[key]*slot
	byID    map[volume.ID][]key
	scanned map[string]bool     // classes whose directory was read at the last scan
	waiting map[key][]volume.ID // who asked about a place of which nothing could be said yet
}

type slot struct {
	entry   entry
	class   config.Class
	disk    *volume.Disk  // nil until it was looked at, and for what is no volume
	looked  bool          // an inspection of this very entry has ended without error
	looking bool          // an inspection is under way
	since   time.Time     // when this very entry was first seen
	took    time.Duration // of the last inspection
	again   bool          // the entry changed, or a rescan is due, while it was
}

func newSlots() *slots {
	return &slots{byKey: map[key]*slot{}, byID: map[volume.ID][]key{}, scanned: map[string]bool{}, waiting: map[key][]volume.ID{}}
}

// find returns the disk with an identity. known is false while nothing can be
// said about it: its directory could not be read, or what lies at its place was
// not looked at yet; the volume is kicked when that has changed. prefer is the
// place where it was last.
func (s *slots) find(id volume.ID, prefer key) (found slot, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if keys := s.byID[id]; len(keys) > 0 {
		picked, others := s.pick(keys, prefer)
		found = *s.byKey[picked]
		if others != "" {
			d := *found.disk
			d.Copy = others
			found.disk = &d
		}
		return found, true
	}
	if known = s.knows(prefer); !known && !slices.Contains(s.waiting[prefer], id) {
		s.waiting[prefer] = append(s.waiting[prefer], id)
	}
	return slot{}, known
}

// knows reports whether it is certain what lies at a place, or that nothing
// does. The caller holds mu.
func (s *slots) knows(k key) bool {
	at := s.byKey[k]
	return s.scanned[k.class] && (at == nil || at.looked)
}

// diskAt returns the disk at a place. known is false while nothing can be said
// about it; who is kicked when that has changed.
func (s *slots) diskAt(k key, who volume.ID) (d *volume.Disk, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known = s.knows(k); !known && !slices.Contains(s.waiting[k], who) {
		s.waiting[k] = append(s.waiting[k], who)
	}
	if sl := s.byKey[k]; known && sl != nil {
		return sl.disk, true
	}
	return nil, known
}

// at returns the volume at a place.
func (s *slots) at(k key) (volume.ID, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl := s.byKey[k]; sl != nil && sl.disk != nil {
		return volume.IDOf(sl.disk.Identity), true
	}
	return "", false
}

// place returns what is at a place, an empty slot where nothing is.
func (s *slots) place(k key) slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl := s.byKey[k]; sl != nil {
		return *sl
	}
	return slot{}
}

// set puts a disk into a slot, or takes it out with nil, and returns the
// volumes that this concerns. The caller holds mu.
func (s *slots) set(k key, sl *slot, d *volume.Disk) []volume.ID {
	var touched []volume.ID
	if sl.disk != nil {
		old := volume.IDOf(sl.disk.Identity)
		s.byID[old] = slices.DeleteFunc(s.byID[old], func(x key) bool { return x == k })
		if len(s.byID[old]) == 0 {
			delete(s.byID, old)
		}
		touched = append(touched, old)
	}
	sl.disk = d
	if d != nil {
		id := volume.IDOf(d.Identity)
		s.byID[id] = append(s.byID[id], k)
		touched = append(touched, id)
	}
	return touched
}

// change is what a scan has changed.
type change struct {
	volumes []volume.ID
	gone    []key
}

// update takes in a scan's result and calls inspect for each entry that must
// be looked at.
func (s *slots) update(entries []entry, classes map[string]config.Class, errs map[string]error, full bool, inspect func(key)) change {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out change
	s.scanned = map[string]bool{}
	for name := range classes {
		s.scanned[name] = errs[name] == nil || errors.Is(errs[name], fs.ErrNotExist)
	}
	seen := make(map[key]bool, len(entries))
	for _, e := range entries {
		k := e.key()
		seen[k] = true
		sl := s.byKey[k]
		if sl != nil && sl.entry == e && reflect.DeepEqual(sl.class, classes[e.Class]) && !full {
			continue
		}
		if sl == nil {
			sl = &slot{since: time.Now()}
			s.byKey[k] = sl
		}
		if sl.entry != e {
			out.volumes = append(out.volumes, s.set(k, sl, nil)...)
			sl.looked, sl.since = false, time.Now()
		}
		sl.entry, sl.class = e, classes[e.Class]
		if sl.looking {
			sl.again = true
			continue
		}
		sl.looking = true
		inspect(k)
	}
	for k, sl := range s.byKey {
		_, managed := classes[k.class]
		if seen[k] || managed && !s.scanned[k.class] {
			continue
		}
		out.volumes = append(out.volumes, s.set(k, sl, nil)...)
		out.gone = append(out.gone, k)
		delete(s.byKey, k)
	}
	for k, ids := range s.waiting {
		if s.knows(k) {
			out.volumes = append(out.volumes, ids...)
			delete(s.waiting, k)
		}
	}
	return out
}
