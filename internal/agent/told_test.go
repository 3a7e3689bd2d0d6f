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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/volume"
)

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
		w.do(func() { w.down, w.telling.noEvent = false, apierrors.NewInternalError(errors.New("etcd is full")) })
		settle()
		wantAnnotation(t, w, "events cannot be written", "")
		w.do(func() {
			w.telling.noEvent, w.telling.noState = nil, apierrors.NewConflict(corev1.Resource("persistentvolumes"), "a", errors.New("busy"))
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

// An event that the API server refuses for good, as in a namespace that is being
// deleted, does not keep the annotation from being written.
func TestEventRefusedForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
		w.telling.noEvent = apierrors.NewForbidden(corev1.Resource("events"), "", errors.New("the namespace is being terminated"))
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		bind(t, w)
		w.take()
		a.trigger(false)
		settle()
		wantAnnotation(t, w, "events refused", api.ReasonDiskGone)
		wantSamples(t, a, "events refused", "berth_events_dropped_total 4")
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
			w.records[id], w.events = r, nil
		})
		var a *Agent
		a, stop = w.start(t, 0, false)
		settle()
		wantAnnotation(t, w, "decided", "")
		w.take()
		a.trigger(false)
		settle()
		stop()
		w.do(func() {
			r := w.records[id]
			r.State, r.Reason = volume.Quarantined, "a person has to look"
			w.records[id], w.events = r, nil
		})
		_, stop = w.start(t, 0, false)
		settle()
		wantAnnotation(t, w, "quarantined while its disk is gone", api.ReasonQuarantined)
		stop()
		w.told(t, "quarantined while its disk is gone", with(api.ReasonQuarantined, toBound[:2])...)
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

// A volume whose PV has ended while its disk was gone is nothing that comes back:
// the wipe goes on, and the new PV's people are told nothing.
func TestNothingIsToldOfWhatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "wwid:1", device: true, unwiped: errors.New("IO error")}})
		w.unheld, w.noLabel, w.telling.noPods = true, true, true
		name := w.established("a", released)
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		w.told(t, "wipe failed", "PersistentVolume WipeFailed")
		disk := w.take()
		a.trigger(false)
		settle()
		w.told(t, "gone", "PersistentVolume DiskGone")
		w.edit(name, func(pv *corev1.PersistentVolume) { now := metav1.Now(); pv.DeletionTimestamp = &now })
		settle()
		disk.unwiped = nil
		w.do(func() { w.events = nil })
		w.giveBack(disk)
		a.trigger(false)
		settle()
		wantNames(t, w, "a Available")
		w.told(t, "wiped and published anew")
	})
}

// A PV that has gone unseen is not annotated again and again, and a class that is
// not looked after any more has no volumes that are gone.
func TestToldOfAPVThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		bind(t, w)
		name := onePV(w).Name
		w.do(func() { delete(w.pvs, name) }) // the watch does not tell
		w.take()
		a.trigger(false)
		settle()
		w.do(func() {
			if n := strings.Count(strings.Join(w.trail, "\n"), `state "DiskGone"`); n != 1 {
				t.Errorf("annotated %d times, want once", n)
			}
		})
		wantSamples(t, a, "gone", `berth_volumes_gone{class="fast"} 1`)
		cfg, other := *a.config(), testClass
		other.Name = "other"
		cfg.Classes = []config.Class{other}
		a.current.Store(&cfg)
		a.kickAll()
		settle()
		wantSamples(t, a, "class taken out", `berth_volumes_gone{class="fast"} `, `berth_volumes_gone{class="other"} 0`)
	})
}
