package agent

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/volume"
)

// says returns the troubles that an agent has, by reason and text.
func (a *Agent) says() (out []string) {
	a.reports.mu.Lock()
	defer a.reports.mu.Unlock()
	for _, r := range a.reports.current {
		out = append(out, r.reason+" "+r.message)
	}
	slices.Sort(out)
	return out
}

// wantSays fails the test unless the agent has so many troubles, each with all
// of these words.
func wantSays(t *testing.T, a *Agent, many int, words ...string) {
	t.Helper()
	all := a.says()
	if len(all) != many {
		t.Errorf("%d troubles, want %d: %q", len(all), many, all)
	}
	for _, text := range all {
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("%q is not in %q", w, text)
			}
		}
	}
}

func oneCopy(name string) *fakeDisk {
	return &fakeDisk{identity: "fs:1:/", medium: disk.ID("wwid:" + name), minor: int(name[0])}
}

// TestCopies is guarantee 1 for two disks with one identity on one node: none is
// handed out while both are there, whatever was before, and each is named with
// its device.
func TestCopies(t *testing.T) {
	for _, c := range []struct {
		name  string
		first bool // a was there before b
		claim bool // and a claim had it
		pvs   []string
		alone []string // when the one that was second is gone
	}{
		{"both new", false, false, nil, []string{"a Available"}},
		{"one published before", true, false, nil, []string{"a Available"}},
		{"one bound before", true, true, []string{"a Bound"}, []string{"a Bound"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(map[string]*fakeDisk{"a": oneCopy("a"), "b": oneCopy("b")})
				if c.first {
					w.do(func() { delete(w.disks, "b") })
				}
				a, stop := w.start(t, 0, false)
				defer stop()
				settle()
				if c.claim {
					w.claimAll(t, "tenant")
				}
				w.do(func() { w.disks["b"] = oneCopy("b") })
				a.trigger(false)
				settle()
				wantNames(t, w, c.pvs...)
				wantSays(t, a, 1, "IdentityCopied", "fs:1:/", "/mnt/disks/a", "/mnt/disks/b", "wwid:a", "wwid:b")
				wantReady(t, a, "two copies")
				w.do(func() { delete(w.disks, "b") })
				a.trigger(false)
				settle()
				wantNames(t, w, c.alone...)
				wantSays(t, a, 0)
			})
		})
	}
}

// TestCopyHoldsTheWipe: of two disks with one identity none is wiped, and the
// one that was released is when it is alone again. The copy alone, at the place
// of the other, is not.
func TestCopyHoldsTheWipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": oneCopy("a")})
		a, stop := w.start(t, 0, false)
		defer func() { stop() }()
		settle()
		w.claimAll(t, "tenant")
		settle()
		w.do(func() { w.disks["b"] = oneCopy("b"); w.disks["b"].bytes = "precious" })
		a.trigger(false)
		settle()
		w.releaseAll()
		settle()
		stop()
		a, stop = w.start(t, 0, false) // which remembers nothing of it
		settle()
		// Whether the wipe is noted depends on which entry was looked at first; that
		// it is not done does not.
		wantNames(t, w, "a Released")
		wantSays(t, a, 1, "IdentityCopied")
		w.do(func() {
			if len(w.wipes) > 0 {
				t.Errorf("wiped %q", w.wipes)
			}
			w.disks["a"], w.disks["b"] = w.disks["b"], nil
			delete(w.disks, "b")
		})
		a.trigger(false)
		settle()
		wantState(t, w, volume.IDOf("fs:1:/"), volume.Quarantined)
		wantSays(t, a, 1, "Quarantined", "wwid:a", "wwid:b", "fs:1:/")
		w.do(func() {
			if len(w.wipes) > 0 || w.disks["a"].bytes != "precious" {
				t.Errorf("the copy was wiped: %q", w.wipes)
			}
		})
	})
}

// TestTwiceTheSame: one disk on two entries is one volume, that of the entry
// which has its PV, and the other is told to be the same.
func TestTwiceTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		twice := func() *fakeDisk { return &fakeDisk{identity: "fs:1:/", minor: 7} }
		w := newWorld(map[string]*fakeDisk{"b": twice()})
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		w.do(func() { w.disks["a"] = twice() })
		a.trigger(false)
		settle()
		wantNames(t, w, "b Available")
		wantSays(t, a, 1, "EntryRefused", `path "/mnt/disks/a" is the same as "/mnt/disks/b"`)
		w.do(func() { delete(w.disks, "b") })
		a.trigger(false)
		settle()
		wantNames(t, w, "a Available")
		wantSays(t, a, 0)
	})
}

// TestSameSerialNumber: a disk whose number another of the machine has, too, is
// not handed out, although that other is in no discovery directory.
func TestSameSerialNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "serial:usb:0001", device: true, sameNumber: "sdx"}})
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		wantNames(t, w)
		wantSays(t, a, 1, "IdentityCopied", "/dev/sdx", "serial:usb:0001")
		w.do(func() { w.disks["a"].sameNumber = "" })
		a.trigger(false)
		settle()
		wantNames(t, w, "a Available")
		w.do(func() { w.disks["a"].sameNumber = "sdx" })
		a.trigger(false)
		settle()
		wantNames(t, w)
	})
}

// TestMessageNamesBothDisks: who reads that a claim's disk is gone reads, too,
// which one is in its stead.
func TestMessageNamesBothDisks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:old:/"}})
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		w.claimAll(t, "tenant")
		settle()
		w.do(func() { w.disks["a"] = &fakeDisk{identity: "fs:new:/"} })
		a.trigger(false)
		settle()
		var gone []string
		for _, text := range a.says() {
			if strings.HasPrefix(text, "DiskGone") {
				gone = append(gone, text)
			}
		}
		if len(gone) != 1 || !strings.Contains(gone[0], "fs:old:/") || !strings.Contains(gone[0], "fs:new:/") {
			t.Errorf("it says %q", a.says())
		}
	})
}
