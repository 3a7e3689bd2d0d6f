package agent

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/volume"
)

// An identity can be there more than once: a disk was copied block by block, two
// disks were given one serial number, there are two ways to one disk, or one
// filesystem is mounted on two entries. In the last case there is one set of
// bytes and one volume: the entry that has its PV, or the first. In all others it cannot
// be told which of them the volume is, so none is published or wiped.

// pick returns which of the entries with an identity the volume is looked for
// at, with what else bears the identity, in words; "" for nothing. The caller holds mu, and there is one.
func (s *slots) pick(keys []key, prefer key) (picked key, others string) {
	picked = prefer
	if !slices.Contains(keys, prefer) {
		picked = slices.MinFunc(keys, func(a, b key) int { return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.name, b.name)) })
	}
	at := s.byKey[picked]
	var copies []string
	for _, k := range keys {
		if other := s.byKey[k]; !at.entry.same(other.entry) {
			copies = append(copies, fmt.Sprintf("%q (%s)", other.disk.Path, where(other)))
		}
	}
	for name := range strings.SplitSeq(at.entry.SameNumber, ", ") {
		if name != "" && !slices.ContainsFunc(keys, func(k key) bool { return s.byKey[k].entry.Device == "/dev/"+name }) {
			copies = append(copies, "/dev/"+name)
		}
	}
	slices.Sort(copies)
	if len(copies) > 0 {
		others = fmt.Sprintf("(%s) has the identity %s, and so has %s: which of them is the volume is not guessed, and none is published or wiped; take away what is a copy, or give it an identity of its own",
			where(at), at.disk.Identity, strings.Join(copies, ", "))
	}
	return picked, others
}

// same reports whether two entries with one identity lead to the same bytes.
func (e entry) same(other entry) bool {
	if e.Kind != other.Kind {
		return false
	}
	if e.Kind == kindMount {
		return e.Mount.Major == other.Mount.Major && e.Mount.Minor == other.Mount.Minor
	}
	return e.Major == other.Major && e.Minor == other.Minor
}

// mayBeCopied reports whether there are entries of which it is not known yet
// what they are, as at a start: no volume is wiped before it is seen that
// nothing else has its identity. A disk that does not answer is not waited for.
func (s *slots) mayBeCopied() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sl := range s.byKey {
		if !sl.looked && time.Since(sl.since) < inspectPatience {
			return true
		}
	}
	return false
}

// where names the device that an entry leads to, and what it lies on.
func where(sl *slot) string {
	name := cmp.Or(sl.entry.Mount.Source, sl.entry.Device)
	if sl.disk.Medium == "" {
		return name
	}
	return fmt.Sprintf("%s, on the device %s", name, sl.disk.Medium)
}

// reportDoubles tells of entries that lead to what another entry leads to, after
// something has changed with these volumes.
func (a *Agent) reportDoubles(ids []volume.ID) {
	type double struct {
		k    key
		text string // "" when it is none
	}
	var all []double
	for _, id := range ids {
		var last key
		if r, ok := a.journal.Get(id); ok {
			last = key{r.Class, r.Entry}
		}
		a.slots.mu.Lock()
		if keys := a.slots.byID[id]; len(keys) > 0 {
			picked, _ := a.slots.pick(keys, last)
			at := a.slots.byKey[picked]
			for _, k := range keys {
				d := double{k: k}
				if sl := a.slots.byKey[k]; k != picked && sl.entry.same(at.entry) {
					d.text = refusal(*sl, fmt.Sprintf("is the same as %q (%s): it is mounted or linked twice, and only one of them is looked after; take one away", at.disk.Path, at.disk.Identity))
				}
				all = append(all, d)
			}
		}
		a.slots.mu.Unlock()
	}
	for _, d := range all {
		if d.text == "" {
			a.reports.clear(doubleSubject(d.k))
		} else {
			a.reports.set(doubleSubject(d.k), api.ReasonEntryRefused, d.text)
		}
	}
}

func doubleSubject(k key) string { return "double/" + k.class + "/" + k.name }

// otherAt returns the identity of the disk at a place, when it is another
// volume's.
func (s *slots) otherAt(k key, id volume.ID) disk.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl := s.byKey[k]; sl != nil && sl.disk != nil && volume.IDOf(sl.disk.Identity) != id {
		return sl.disk.Identity
	}
	return ""
}
