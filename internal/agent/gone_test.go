package agent

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/berth-storage/berth/api"
)

// told checks which events were written since the last call, how often, and
// forgets them.
func (w *world) told(t *testing.T, when string, want ...string) {
	t.Helper()
	w.do(func() {
		slices.Sort(w.events)
		slices.Sort(want)
		if !slices.Equal(w.events, want) {
			t.Errorf("%s: events are %q, want %q", when, w.events, want)
		}
		w.events = nil
	})
}

func wantAnnotation(t *testing.T, w *world, when, state string) {
	t.Helper()
	pv := onePV(w)
	if pv == nil {
		t.Fatalf("%s: there is no PV", when)
	}
	got, reason := pv.Annotations[api.AnnState], pv.Annotations[api.AnnReason]
	if got != state || (reason == "") != (state == "") {
		t.Errorf("%s: the PV's state is %q with reason %q, want %q", when, got, reason, state)
	}
}

// writes counts the requests that tell people something.
func (w *world) writes() (n int) {
	w.do(func() {
		for _, step := range w.trail {
			if step == "event" || step == "list pods" || strings.HasPrefix(step, "state ") || step == "add taint" {
				n++
			}
		}
	})
	return n
}

// take pulls the only disk out; giveBack puts it back.
func (w *world) take() (d *fakeDisk) {
	w.do(func() { d = w.disks["a"]; delete(w.disks, "a") })
	return d
}

func (w *world) giveBack(d *fakeDisk) { w.do(func() { w.disks["a"] = d }) }

var (
	toBound    = []string{"PersistentVolume ", "PersistentVolumeClaim ", "Pod ", "Pod "}
	toReleased = []string{"PersistentVolume "}
)

func with(reason string, kinds []string) (out []string) {
	for _, k := range kinds {
		out = append(out, k+reason)
	}
	return out
}

// TestGoneAndBack: a disk goes in each state of its volume and comes back, as
// another device, with and without a restart of the agent in between. People are
// told once of each, however often everything is looked at; an unclaimed volume
// is withdrawn and published again.
func TestGoneAndBack(t *testing.T) {
	states := map[string]struct {
		begin       func(t *testing.T, w *world) // from Available
		told        []string
		whileGone   func(w *world)
		state, end  string // the PV's while the disk is gone, and at the end
		phase       string // at the end
		wipes       int
		keepsTenant bool
	}{
		"Available": {begin: func(*testing.T, *world) {}, phase: "Available"},
		"Bound":     {begin: bind, told: toBound, state: api.ReasonDiskGone, phase: "Bound", keepsTenant: true},
		"Released":  {begin: bind, told: toBound, whileGone: (*world).releaseAll, state: api.ReasonDiskGone, phase: "Available", wipes: 1},
		"Wiping": {begin: func(t *testing.T, w *world) {
			bind(t, w)
			w.do(func() { w.disks["a"].unwiped = errors.New("IO error") })
			w.releaseAll()
			settle()
			wantAnnotation(t, w, "wipe failed", api.ReasonWipeFailed)
			w.do(func() { w.events = nil })
		}, told: toReleased, state: api.ReasonDiskGone, phase: "Available", wipes: 1},
	}
	for name, c := range states {
		for _, restart := range []string{"none", "while it is gone", "it goes while the agent is away", "it comes back while the agent is away"} {
			t.Run(name+", restart: "+restart, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(map[string]*fakeDisk{"a": {identity: "wwid:1", device: true, major: 8}})
					a, stop := w.start(t, 0, false)
					defer func() { stop() }()
					settle()
					c.begin(t, w)
					settle()
					if restart == "it goes while the agent is away" {
						stop()
					}
					disk := w.take()
					if restart == "it goes while the agent is away" {
						a, stop = w.start(t, 0, false)
					}
					a.trigger(false)
					settle()
					w.told(t, "gone", with(api.ReasonDiskGone, c.told)...)
					if c.state == "" {
						wantNames(t, w)
					} else {
						wantAnnotation(t, w, "gone", c.state)
					}
					if c.whileGone != nil {
						c.whileGone(w)
						settle()
					}
					before := w.writes()
					if restart == "while it is gone" {
						stop()
						a, stop = w.start(t, 0, false)
						settle()
					}
					for range 3 {
						a.trigger(true)
						settle()
					}
					if n := w.writes() - before; n != 0 {
						t.Errorf("looking again told %d times more", n)
					}
					w.told(t, "looked at again")

					if restart == "it comes back while the agent is away" {
						stop()
					}
					w.do(func() { disk.major, disk.unwiped, w.wipes = 259, nil, nil })
					w.giveBack(disk)
					if restart == "it comes back while the agent is away" {
						a, stop = w.start(t, 0, false)
					}
					a.trigger(false)
					settle()
					back := c.told
					if c.whileGone != nil {
						back = toReleased
					}
					w.told(t, "back", with(api.ReasonDiskBack, back)...)
					wantNames(t, w, "a "+c.phase)
					wantAnnotation(t, w, "back", "")
					w.do(func() {
						if n := len(w.wipes); n != c.wipes || (disk.bytes != "") != c.keepsTenant {
							t.Errorf("%d wipes, the disk holds %q", n, disk.bytes)
						}
					})
					if n := a.states.byClass()["fast"]; n != 0 {
						t.Errorf("%d volumes count as gone", n)
					}
				})
			})
		}
	}
}

// bind gives the only volume to a claim that two pods use.
func bind(t *testing.T, w *world) {
	w.claimAll(t, "tenant")
	w.do(func() {
		for _, pv := range w.pvs {
			w.telling.pods = map[string][]string{pv.Spec.ClaimRef.Name: {"db-0", "db-1"}}
		}
	})
	settle()
}

// A healthy life, wipe included, costs no request that tells anything.
func TestHealthyVolumesAreNotToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}, "dev": {identity: "wwid:2", device: true}})
		_, stop := w.start(t, 0, false)
		settle()
		w.claimAll(t, "tenant")
		settle()
		stop()
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		w.releaseAll()
		settle()
		a.trigger(true)
		settle()
		wantNames(t, w, "a Available", "dev Available")
		if n := w.writes(); n != 0 {
			t.Errorf("%d requests in %q", n, w.trail)
		}
	})
}
