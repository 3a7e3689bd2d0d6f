package agent

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
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
		a, stop := w.start(t, 0, false)
		defer func() { stop() }()
		settle()
		w.claimAll(t, "tenant")
		settle()
		stop()
		a, stop = w.start(t, 0, false)
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

// TestToldThroughCrashes kills the agent before and after each step of a disk's
// going and of its return: every event is written once, and the annotation is true.
func TestToldThroughCrashes(t *testing.T) {
	killed := map[string]bool{}
	for _, back := range []bool{false, true} {
		for step := 1; step <= 14; step++ {
			for _, after := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					when := fmt.Sprintf("back=%v step %d after=%v", back, step, after)
					w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
					a, stop := w.start(t, 0, false)
					defer func() { stop() }()
					settle()
					bind(t, w)
					reason, state := api.ReasonDiskGone, api.ReasonDiskGone
					disk := w.take()
					if back {
						a.trigger(false)
						settle()
						w.do(func() { w.events = nil })
						reason, state = api.ReasonDiskBack, ""
						w.giveBack(disk)
					}
					w.do(func() { w.process.steps, w.process.dieAt, w.process.after = 0, step, after })
					a.trigger(false)
					settle()
					w.do(func() {
						if w.process.dead {
							killed[w.trail[len(w.trail)-1]] = true
						}
					})
					stop()
					a, stop = w.start(t, 0, false)
					settle()
					a.trigger(true)
					settle()
					w.told(t, when, with(reason, toBound)...)
					wantAnnotation(t, w, when, state)
				})
			}
		}
	}
	for _, step := range []string{"list pods", "event", `state "DiskGone"`, `state ""`} {
		if !killed[step] {
			t.Errorf("the agent was not killed at %q, only at %q", step, slices.Sorted(maps.Keys(killed)))
		}
	}
}

// What the API server does not take in is told once it does, and nothing twice.
func TestToldWhenTheServerIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		bind(t, w)
		disk := w.take()
		w.do(func() { w.down = true })
		a.trigger(false)
		settle()
		w.told(t, "the server is away")
		w.do(func() {
			w.down, w.telling.noState = false, apierrors.NewConflict(corev1.Resource("persistentvolumes"), "a", errors.New("busy"))
		})
		settle()
		w.told(t, "PVs cannot be changed", with(api.ReasonDiskGone, toBound)...)
		w.do(func() { w.telling.noState = nil })
		settle()
		w.told(t, "all is well with the server")
		wantAnnotation(t, w, "all is well with the server", api.ReasonDiskGone)

		// A person's edit of the annotation does not stand.
		w.edit(onePV(w).Name, func(pv *corev1.PersistentVolume) { pv.Annotations[api.AnnState] = "Fine" })
		settle()
		wantAnnotation(t, w, "after an edit by hand", api.ReasonDiskGone)
		w.do(func() { w.events = nil })
		w.giveBack(disk)
		a.trigger(false)
		settle()
		w.told(t, "back", with(api.ReasonDiskBack, toBound)...)
		w.do(func() {
			if w.telling.types[api.ReasonDiskGone] != corev1.EventTypeWarning || w.telling.types[api.ReasonDiskBack] != corev1.EventTypeNormal {
				t.Errorf("types of events: %v", w.telling.types)
			}
		})
	})
}

// Under the established provisioner's role PVs cannot be annotated and pods not
// listed; PV and claim are told all the same, once, and again after the next time.
func TestToldUnderTheOldRole(t *testing.T) {
	for _, identified := range []bool{true, false} {
		t.Run(fmt.Sprintf("identified=%v", identified), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/", bytes: "precious"}})
				w.unheld, w.noLabel, w.telling.noPods = true, true, true
				w.established("a", boundTo("db"))
				disk := w.disks["a"]
				if !identified {
					w.take()
				}
				a, stop := w.start(t, 0, false)
				defer stop()
				settle()
				for range 2 {
					w.take()
					for range 3 {
						a.trigger(true)
						settle()
					}
					w.told(t, "gone", with(api.ReasonDiskGone, toBound[:2])...)
					if n := a.states.byClass()["fast"]; n != 1 {
						t.Errorf("%d volumes count as gone, want 1", n)
					}
					w.giveBack(disk)
					a.trigger(false)
					settle()
					w.told(t, "back", with(api.ReasonDiskBack, toBound[:2])...)
					if n := a.states.byClass()["fast"]; n != 0 {
						t.Errorf("%d volumes count as gone, want 0", n)
					}
				}
				n := 0
				w.do(func() {
					for _, step := range w.trail {
						if step == "list pods" || strings.HasPrefix(step, "state ") {
							n++
						}
					}
				})
				if n != 2 {
					t.Errorf("what is forbidden was tried %d times, want once each", n)
				}
				wantAnnotation(t, w, "under the old role", "")
			})
		})
	}
}

// A quarantined volume that a claim has says so on its PV, until a person has decided.
func TestQuarantineIsOnThePV(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
		_, stop := w.start(t, 0, false)
		defer func() { stop() }()
		settle()
		bind(t, w)
		stop()
		id := volume.IDOf("fs:1:/")
		w.do(func() {
			r := w.records[id]
			r.State, r.Reason = volume.Quarantined, "a person has to look"
			w.records[id] = r
		})
		_, stop = w.start(t, 0, false)
		settle()
		wantAnnotation(t, w, "quarantined", api.ReasonQuarantined)
		if reason := onePV(w).Annotations[api.AnnReason]; !strings.Contains(reason, "a person has to look") {
			t.Errorf("the reason is %q", reason)
		}
		stop()
		w.do(func() {
			r := w.records[id]
			r.State, r.Reason = volume.Used, ""
			w.records[id] = r
		})
		_, stop = w.start(t, 0, false)
		settle()
		wantAnnotation(t, w, "decided", "")
	})
}

// While a wipe that goes on with a disk's return takes its time, nothing says
// any more that the disk is gone.
func TestBackBeforeALongWipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wiping := make(chan struct{})
		w := newWorld(map[string]*fakeDisk{"a": {identity: "wwid:1", device: true}})
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		bind(t, w)
		disk := w.take()
		a.trigger(false)
		settle()
		w.releaseAll()
		settle()
		wantSamples(t, a, "gone", `berth_volumes_gone{class="fast"} 1`, `berth_troubles{reason="DiskGone"} 1`)
		w.do(func() { disk.wiping = wiping })
		w.giveBack(disk)
		a.trigger(false)
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		wantAnnotation(t, w, "being wiped", "")
		wantSamples(t, a, "being wiped", `berth_volumes_gone{class="fast"} 0`, `berth_troubles{reason="DiskGone"} `)
		close(wiping)
		settle()
		wantNames(t, w, "a Available")
	})
}
