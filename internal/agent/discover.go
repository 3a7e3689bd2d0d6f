package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/volume"
)

// inspections is how many disks are looked at together. A disk that hangs
// keeps one of these places.
const inspections = 64

// slots is what discovery knows: each entry, and the disk behind it once that
// was looked at.
type slots struct {
	mu      sync.Mutex // guards the rest
	byKey   map[key]*slot
	byID    map[volume.ID][]key
	scanned map[string]bool // classes whose directory was read at the last scan
}

type slot struct {
	entry   entry
	class   config.Class
	disk    *volume.Disk // nil until it was looked at, and for what is no volume
	looked  bool         // an inspection of this very entry has ended without error
	looking bool         // an inspection is under way
	again   bool         // the entry changed, or a rescan is due, while it was
}

func newSlots() *slots {
	return &slots{byKey: map[key]*slot{}, byID: map[volume.ID][]key{}, scanned: map[string]bool{}}
}

// find returns the disk with an identity. known is false while nothing can be
// said about it: its directory could not be read, or what lies at its place was
// not looked at yet. prefer is the place where it was last.
func (s *slots) find(id volume.ID, prefer key) (found slot, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := s.byID[id]
	if slices.Contains(keys, prefer) {
		return *s.byKey[prefer], true
	}
	if len(keys) > 0 {
		return *s.byKey[keys[0]], true
	}
	at := s.byKey[prefer]
	return slot{}, s.scanned[prefer.class] && (at == nil || at.looked)
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

// discover reads the discovery directories once and starts what follows from
// it. With full set, disks that look unchanged are looked at again too.
func (a *Agent) discover(ctx context.Context, full bool) {
	cfg := a.config()
	if cfg == nil {
		return
	}
	entries, errs, err := a.machine.Scan(cfg.Classes)
	if err != nil {
		a.log.Error("discovery failed", "err", err)
		return
	}
	classes := map[string]config.Class{}
	for _, c := range cfg.Classes {
		classes[c.Name] = c
		a.reportDir(c, errs[c.Name])
	}
	touched := a.slots.update(entries, classes, errs, full, func(k key) { a.goInspect(ctx, k) })
	for _, k := range touched.gone {
		a.reports.clear(entrySubject(k))
	}
	for _, id := range touched.volumes {
		a.volumes.kick(id)
	}
	if first := a.discovered.CompareAndSwap(false, true); first {
		a.kickAll()
	}
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
		if sl != nil && sl.entry == e && sl.class == classes[e.Class] && !full {
			continue
		}
		if sl == nil {
			sl = &slot{}
			s.byKey[k] = sl
		}
		if sl.entry != e {
			out.volumes = append(out.volumes, s.set(k, sl, nil)...)
			sl.looked = false
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
	return out
}

// goInspect looks at the disk behind an entry, in a goroutine of its own: a
// disk that hangs must not keep others waiting.
func (a *Agent) goInspect(ctx context.Context, k key) {
	a.running.Go(func() {
		select {
		case a.inspecting <- struct{}{}:
			defer func() { <-a.inspecting }()
		case <-ctx.Done():
			return
		}
		for a.inspect(ctx, k) {
		}
	})
}

// inspect looks at one entry and takes in the result. It reports whether the
// entry has changed since and must be looked at again.
func (a *Agent) inspect(ctx context.Context, k key) (again bool) {
	a.slots.mu.Lock()
	sl := a.slots.byKey[k]
	if sl == nil || ctx.Err() != nil {
		a.slots.mu.Unlock()
		return false
	}
	sl.again = false
	e, class := sl.entry, sl.class
	a.slots.mu.Unlock()

	d, problem, err := a.machine.Inspect(class, e)

	a.slots.mu.Lock()
	if a.slots.byKey[k] != sl {
		a.slots.mu.Unlock()
		return false
	}
	var touched []volume.ID
	again = sl.again
	if !again {
		sl.looking = false
		if err == nil {
			sl.looked = true
			touched = a.slots.set(k, sl, d)
		}
	}
	a.slots.mu.Unlock()
	if again {
		return true
	}
	switch {
	case err != nil:
		a.reports.set(entrySubject(k), api.ReasonEntryRefused, refusal(slot{entry: e, class: class}, fmt.Sprintf("could not be looked at, trying again: %v", err)))
		a.retryInspect(ctx)
	case problem != "":
		a.reports.set(entrySubject(k), api.ReasonEntryRefused, refusal(slot{entry: e, class: class}, problem))
	default:
		a.reports.clear(entrySubject(k))
	}
	for _, id := range touched {
		a.volumes.kick(id)
	}
	return false
}

// reportDir says, once, that a discovery directory cannot be read.
func (a *Agent) reportDir(c config.Class, err error) {
	subject := "class/" + c.Name
	if err == nil {
		a.reports.clear(subject)
		return
	}
	message := fmt.Sprintf("discovery directory %s of class %s cannot be read: %v", c.MountDir, c.Name, err)
	if errors.Is(err, fs.ErrNotExist) {
		message = fmt.Sprintf("discovery directory %s of class %s does not exist; it is picked up when it appears", c.MountDir, c.Name)
	}
	a.reports.set(subject, api.ReasonDirMissing, message)
}

func entrySubject(k key) string { return "entry/" + k.class + "/" + k.name }

// refusal says of an entry that it is no volume, and why.
func refusal(sl slot, why string) string {
	return fmt.Sprintf("path %q %s", path.Join(sl.class.MountDir, sl.entry.Name), why)
}

// retryInspect looks at everything again after a while, for the sake of a disk
// that could not be looked at.
func (a *Agent) retryInspect(ctx context.Context) {
	time.AfterFunc(inspectRetry, func() {
		if ctx.Err() == nil {
			a.trigger(true)
		}
	})
}

// inspectRetry is how long a disk that could not be looked at is left alone.
const inspectRetry = 10 * time.Second
