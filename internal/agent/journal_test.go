package agent

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-storage/berth/internal/control"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/volume"
)

// TestJournalFull: while the records cannot be written, at each point of a
// volume's life, nothing is published or wiped, that is said once for all, and
// within seconds of there being room the agent has caught up.
func TestJournalFull(t *testing.T) {
	for i, begin := range phases {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(map[string]*fakeDisk{"dir": {identity: "fs:1:/"}, "dev": {identity: "wwid:2", device: true}})
			full := func(n int) { w.do(func() { w.journalFull = n }) }
			if i == 0 {
				full(1)
			}
			a, stop := w.start(t, 0, false)
			defer stop()
			for _, earlier := range phases[:i] {
				earlier(t, w, a)
				settle()
			}
			full(1)
			before := len(w.wipes)
			begin(t, w, a)
			settle()
			w.do(func() {
				if i == 0 && len(w.pvs) > 0 || len(w.wipes) > before {
					t.Errorf("phase %d: %d PVs, and wipes of %q", i, len(w.pvs), w.wipes)
				}
				said := 0
				for _, e := range w.events {
					if e == "Node JournalFailed" {
						said++
					}
				}
				// Where a volume goes and comes back, nothing need be written.
				if said != 1 && i != 4 || slices.Contains(w.events, "PersistentVolume WipeFailed") {
					t.Errorf("phase %d: events are %q", i, w.events)
				}
			})
			full(0)
			time.Sleep(journalPatience)
			synctest.Wait()
			soon := w.state()
			settle()
			if end := w.state(); soon != end {
				t.Errorf("phase %d: %s after there is room:\n%sand later:\n%s", i, journalPatience, soon, end)
			}
			if says := strings.Join(a.says(), "\n"); strings.Contains(says, "JournalFailed") {
				t.Errorf("phase %d: it still says %s", i, says)
			}
		})
	}
}

// TestOwedRecord: what the agent has seen and could not write is not forgotten.
// Without it a PV that was claimed, used and taken away by force meanwhile would
// look as if it had never been made.
func TestOwedRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
		w.do(func() { w.journalFull = 2 }) // about to publish, and no more
		_, stop := w.start(t, 0, false)
		defer stop()
		settle()
		wantNames(t, w, "a Available")
		w.claimAll(t, "tenant")
		settle()
		forceAway(w, onePV(w).Name)
		settle()
		wantNames(t, w)
		w.do(func() { w.journalFull = 0 })
		settle()
		wantNames(t, w)
		wantState(t, w, volume.IDOf("fs:1:/"), volume.Quarantined)
	})
}

// TestCommandThatCannotBeWritten: a person who is told that a command failed does
// not see it done later, once there is room.
func TestCommandThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := heldBack(t, nil)
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		id := string(volume.IDOf(heldDir))
		v, err := desk{a}.Volume(id)
		if err != nil {
			t.Fatal(err)
		}
		w.do(func() { w.journalFull = 1 })
		if _, err := (desk{a}).Ask(t.Context(), id, control.Request{Command: "wipe", Identity: v.Identity, Path: v.Path}); !errors.Is(err, errJournal) {
			t.Errorf("the command says %v", err)
		}
		w.do(func() { w.journalFull = 0 })
		settle()
		wantState(t, w, volume.IDOf(heldDir), volume.Quarantined)
		if says := strings.Join(a.says(), "\n"); strings.Contains(says, "JournalFailed") {
			t.Errorf("it still says %s", says)
		}
		w.do(func() {
			if len(w.wipes) > 0 {
				t.Errorf("wiped %q", w.wipes)
			}
		})
	})
}

// TestDamagedRecord: a volume whose record was damaged is taken up again where
// that is certain, and held back where it is not.
func TestDamagedRecord(t *testing.T) {
	for _, c := range []struct {
		name  string
		lost  volume.State
		claim bool
		disk  *fakeDisk
		want  volume.State
		pvs   []string
	}{
		{"bound", volume.Used, true, &fakeDisk{}, volume.Used, []string{"a Bound"}},
		{"bound, and illegible", volume.Illegible, true, &fakeDisk{}, volume.Quarantined, []string{"a Bound"}},
		{"unclaimed and empty", volume.Published, false, &fakeDisk{}, volume.Published, []string{"a Available"}},
		{"unclaimed, with contents", volume.Published, false, &fakeDisk{bytes: "whose?"}, volume.Quarantined, nil},
		{"unclaimed device", volume.Published, false, &fakeDisk{device: true}, volume.Quarantined, nil},
		{"not to be rebuilt", "", true, &fakeDisk{}, volume.Quarantined, []string{"a Bound"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				identity := disk.ID("fs:1:/")
				id := volume.IDOf(identity)
				c.disk.identity = identity
				w := newWorld(map[string]*fakeDisk{"a": c.disk})
				_, stop := w.start(t, 0, false)
				settle()
				if c.claim {
					w.claimAll(t, "tenant")
					settle()
				}
				stop()
				w.do(func() {
					w.records[id] = volume.Record{ID: id, State: volume.Quarantined, Reason: "its journal record is damaged", Lost: c.lost}
				})
				_, stop = w.start(t, 0, false)
				defer stop()
				settle()
				wantState(t, w, id, c.want)
				wantNames(t, w, c.pvs...)
				if c.want == volume.Used {
					w.releaseAll()
					settle()
					wantNames(t, w, "a Available")
				}
			})
		})
	}
}
