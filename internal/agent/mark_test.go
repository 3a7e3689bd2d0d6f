package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/volume"
)

const markedID = "fs:1:/"

// markOn returns the mark of a disk, nil when it has none.
func (w *world) markOn(name string) (m *volume.Mark) {
	w.do(func() {
		if text := w.disks[name].mark; text != nil {
			m = volume.ReadMark(text)
		}
	})
	return m
}

func (w *world) reason(id volume.ID) (reason string) {
	w.do(func() { reason = w.records[id].Reason })
	return reason
}

// TestMarkOfAVolumesLife: offered before there is a PV, used, and off after the wipe.
func TestMarkOfAVolumesLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: markedID}})
		_, stop := w.start(t, 0, false)
		settle()
		offered := w.markOn("a")
		if offered == nil || offered.Claim != nil || offered.Node != "node-1" || offered.PV == "" {
			t.Fatalf("a published volume bears %+v", offered)
		}
		w.do(func() {
			if slices.Index(w.trail, "mark a") > slices.Index(w.trail, "create") {
				t.Errorf("a PV was there before the mark: %q", w.trail)
			}
		})
		w.claimAll(t, "tenant")
		settle()
		if m := w.markOn("a"); m.Claim == nil || !strings.HasPrefix(m.Claim.Name, "tenant-") || m.ID == offered.ID {
			t.Errorf("a used volume bears %+v", m)
		}
		stop()
		w.do(func() { w.trail = nil })
		_, stop = w.start(t, 0, false)
		defer stop()
		settle()
		w.do(func() {
			if slices.Contains(w.trail, "mark a") {
				t.Error("a start writes a mark that was right")
			}
			w.disks["a"].unwiped = errors.New("something is left")
		})
		w.releaseAll()
		settle()
		if m := w.markOn("a"); m == nil || m.Claim == nil {
			t.Errorf("a volume whose wipe fails bears %+v", m)
		}
		w.do(func() { w.disks["a"].unwiped = nil })
		for range 10 {
			settle()
		}
		if m := w.markOn("a"); m == nil || m.Claim != nil || m.ID == offered.ID {
			t.Errorf("a volume published anew bears %+v", m)
		}
		wantNames(t, w, "a Available")
	})
}

// TestUsedIsUsedWithoutJournalAndPV is guarantee 3 where nothing is left but the
// disk: it is held back with the name of whom it was given to, and goes on by a
// person's word alone.
func TestUsedIsUsedWithoutJournalAndPV(t *testing.T) {
	for _, clean := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(map[string]*fakeDisk{"a": {identity: markedID}})
			_, stop := w.start(t, 0, false)
			settle()
			w.claimAll(t, "tenant")
			settle()
			stop()
			pv := onePV(w)
			forceAway(w, pv.Name)
			w.do(func() {
				w.records = map[volume.ID]volume.Record{}
				if clean {
					w.disks["a"].bytes = ""
				}
			})
			_, stop = w.start(t, 0, false)
			settle()
			if clean {
				defer stop()
				wantNames(t, w, "a Available")
				return
			}
			wantNames(t, w)
			id := volume.IDOf(markedID)
			wantState(t, w, id, volume.Quarantined)
			if why := w.reason(id); !strings.Contains(why, "node-1") || !strings.Contains(why, pv.Name) || !strings.Contains(why, "ns/tenant-") {
				t.Errorf("the reason is %q", why)
			}
			stop()
			w.do(func() { // what a person's command does
				r := w.records[id]
				r.State, r.Reason = volume.Clean, ""
				w.records[id] = r
			})
			_, stop = w.start(t, 0, false)
			defer stop()
			settle()
			wantNames(t, w, "a Available")
			if m := w.markOn("a"); m.Claim != nil {
				t.Errorf("after its release it bears %+v", m)
			}
		})
	}
}

// TestDiskOfAnotherNode: a disk that another node handed out is not handed out
// here as it is; one that cannot be read is not either.
func TestDiskOfAnotherNode(t *testing.T) {
	other, err := volume.Mark{ID: "x", Node: "node-2", PV: "local-2", Claim: &volume.Claim{Namespace: "shop", Name: "db", UID: "c"}}.Text()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		mark []byte
		want string
	}{{other, "node node-2 handed it out as PV local-2 to claim shop/db"}, {other[:len(other)-1], "checksum"}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(map[string]*fakeDisk{"a": {identity: markedID, bytes: "a secret", mark: test.mark}})
			_, stop := w.start(t, 0, false)
			defer stop()
			settle()
			wantNames(t, w)
			wantState(t, w, volume.IDOf(markedID), volume.Quarantined)
			if why := w.reason(volume.IDOf(markedID)); !strings.Contains(why, test.want) {
				t.Errorf("the reason is %q", why)
			}
			w.do(func() {
				if w.disks["a"].bytes == "" || !slices.Contains(w.events, "Node Quarantined") {
					t.Errorf("it was wiped, or nothing was reported: %q", w.events)
				}
			})
		})
	}
}

// TestNoMark: a filesystem that takes no mark goes without; one that fails is
// not published before it does not fail any more.
func TestNoMark(t *testing.T) {
	for _, test := range []struct {
		err  error
		want []string
	}{{fmt.Errorf("%w: operation not supported", host.ErrNoXattr), []string{"a Available"}}, {errors.New("input/output error"), nil}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(map[string]*fakeDisk{"a": {identity: markedID, noMark: test.err}})
			_, stop := w.start(t, 0, false)
			defer stop()
			settle()
			wantNames(t, w, test.want...)
			w.do(func() { w.disks["a"].noMark = nil })
			for range 10 {
				settle()
			}
			wantNames(t, w, "a Available")
			w.claimAll(t, "tenant")
			w.do(func() { w.disks["a"].noMark = test.err })
			settle()
			w.releaseAll() // which a mark that cannot be written does not hold up
			for range 10 {
				settle()
			}
			w.do(func() {
				if d := w.disks["a"]; d.bytes != "" {
					t.Errorf("%v: it was not wiped", test.err)
				}
			})
		})
	}
}

// TestOldMarkStays: what bears a mark that cannot be replaced is not handed out
// under it.
func TestOldMarkStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, err := volume.Mark{ID: "x", Node: "node-2", PV: "local-2"}.Text()
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(map[string]*fakeDisk{"a": {identity: markedID, mark: old, noMark: fmt.Errorf("%w: no space left on device", host.ErrNoXattr)}})
		_, stop := w.start(t, 0, false)
		defer stop()
		settle()
		wantNames(t, w)
	})
}

// TestMarkOfAnOlderAgent: volumes from before there were marks get theirs when
// they are first looked after, once.
func TestMarkOfAnOlderAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: markedID}, "b": {identity: "fs:2:/"}})
		_, stop := w.start(t, 0, false)
		settle()
		stop()
		w.edit(onePV(w).Name, func(pv *corev1.PersistentVolume) {
			pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: "tenant", UID: "claim"}
			pv.Status.Phase = corev1.VolumeBound
		})
		w.do(func() {
			for _, d := range w.disks {
				d.mark = nil
			}
			for id, r := range w.records {
				r.Mark, r.MarkBefore = "", ""
				w.records[id] = r
			}
		})
		_, stop = w.start(t, 0, false)
		settle()
		stop()
		claims := 0
		for _, name := range []string{"a", "b"} {
			m := w.markOn(name)
			if m == nil {
				t.Fatalf("%s has no mark", name)
			}
			if m.Claim != nil {
				claims++
			}
		}
		if claims != 1 {
			t.Errorf("%d marks name a claim, want 1", claims)
		}
		w.do(func() { w.trail = nil })
		_, stop = w.start(t, 0, false)
		settle()
		stop()
		w.do(func() {
			if slices.ContainsFunc(w.trail, func(s string) bool { return strings.HasPrefix(s, "mark") || strings.HasPrefix(s, "journal") }) {
				t.Errorf("the second start writes: %q", w.trail)
			}
		})
	})
}

// TestPVGoneBeforeItWasNoted: the agent dies between creating a PV and noting
// it, and meanwhile a claim has the PV, writes, and is forced away with it.
func TestPVGoneBeforeItWasNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: markedID}})
		_, stop := w.start(t, 0, false)
		settle()
		stop()
		step := 0
		w.do(func() { step = slices.Index(w.trail, "create") + 1 })

		w = newWorld(map[string]*fakeDisk{"a": {identity: markedID}})
		_, stop = w.start(t, step, true)
		settle()
		stop()
		w.claimAll(t, "tenant")
		forceAway(w, onePV(w).Name)
		_, stop = w.start(t, 0, false)
		defer stop()
		settle()
		wantNames(t, w)
		wantState(t, w, volume.IDOf(markedID), volume.Quarantined)
	})
}
