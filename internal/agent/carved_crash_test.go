package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/volume"
)

const mib = 1 << 20

// carvedPhases are the whole life of volumes out of a pool of 100 MiB. Each is
// entered with a settled agent, and followed by Kubernetes' part.
var carvedPhases = []func(t *testing.T, w *world){
	func(_ *testing.T, w *world) {
		w.place("a", 40*mib)
		w.place("b", 40*mib)
	},
	func(_ *testing.T, w *world) { w.place("c", 40*mib) }, // which does not fit
	func(t *testing.T, w *world) {
		w.mu.Lock()
		for id, v := range w.carved.store.pieces {
			if v.bytes != "" {
				t.Errorf("%s came with %q", id, v.bytes)
			}
			v.bytes = "secret"
		}
		w.mu.Unlock()
		w.growClaim("a", 50*mib)
	},
	func(_ *testing.T, w *world) { w.growClaim("b", 90*mib) }, // which does not fit
	func(_ *testing.T, w *world) { w.growClaim("b", 45*mib) }, // and is taken back
	func(_ *testing.T, w *world) { w.releaseCarved("a") },
	func(_ *testing.T, w *world) { w.place("d", 55*mib) },
	func(_ *testing.T, w *world) {
		// The choice is taken back while nothing or half of it is done.
		w.place("e", 10*mib)
		w.unplace("e")
	},
	func(_ *testing.T, w *world) {
		w.releaseCarved("b")
		w.releaseCarved("d")
	},
}

func (w *world) growClaim(uid string, bytes int64) {
	w.editClaim(uid, func(c *corev1.PersistentVolumeClaim) {
		c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(bytes, resource.BinarySI)}
	})
}

// unplace takes the choice of the node off a claim, unless it is bound.
func (w *world) unplace(uid string) {
	w.editClaim(uid, func(c *corev1.PersistentVolumeClaim) {
		if c.Spec.VolumeName == "" {
			c.Annotations, c.Labels = nil, nil
		}
	})
}

// liveCarved runs a life in which the agent dies at one step of a phase, if any,
// and is started again.
func liveCarved(t *testing.T, device bool, phase, dieAt int, after bool) (end string, steps []int, died string) {
	w := newWorld(nil)
	w.carved = carvedWorld{store: &store{total: 100 * mib, device: device, pieces: map[pool.ID]*stored{}}, claims: map[string]*corev1.PersistentVolumeClaim{}}
	var cancel context.CancelFunc
	begin := func() func() {
		a, stop := w.start(t, 0, false)
		var ctx context.Context
		ctx, cancel = context.WithCancel(t.Context())
		w.carves(ctx, a)
		return func() { cancel(); stop() }
	}
	stop := begin()
	settle()
	var overcommitted []string
	for i, do := range carvedPhases {
		if i == phase {
			w.mu.Lock()
			w.process.steps, w.process.dieAt, w.process.after = 0, dieAt, after
			w.mu.Unlock()
		}
		before, _ := w.since(0)
		do(t, w)
		settle()
		w.bindCarved()
		settle()
		made, last := w.since(before)
		steps = append(steps, made)
		if last != "" {
			died = last
			stop()
			stop = begin()
			settle()
			w.bindCarved()
			settle()
		}
		w.mu.Lock()
		if free := w.carved.store.free(); free < 0 {
			overcommitted = append(overcommitted, fmt.Sprintf("after phase %d %d bytes too many are promised", i, -free))
		}
		w.mu.Unlock()
	}
	stop()
	if overcommitted != nil {
		t.Error(overcommitted)
	}
	return w.carvedState(), steps, died
}

// TestCarvedCrashConverges kills the agent before and after each step of the
// life of volumes out of a pool: the end is the same, no space is lost or
// promised twice, and nobody sees another's bytes.
func TestCarvedCrashConverges(t *testing.T) {
	for _, device := range []bool{false, true} {
		t.Run(fmt.Sprintf("devices=%v", device), func(t *testing.T) {
			var want string
			var steps []int
			synctest.Test(t, func(t *testing.T) { want, steps, _ = liveCarved(t, device, -1, 0, false) })
			t.Logf("steps of each phase: %v; end:\n%s", steps, want)
			if strings.Contains(want, "piece") || strings.Contains(want, "record") || !strings.Contains(want, "{carved 104857600 104857600}") {
				t.Errorf("not everything was given back:\n%s", want)
			}
			kills := 0
			for phase, n := range steps {
				for step := 1; step <= n; step++ {
					for _, after := range []bool{false, true} {
						synctest.Test(t, func(t *testing.T) {
							got, _, died := liveCarved(t, device, phase, step, after)
							if died != "" {
								kills++
							}
							if got != want {
								t.Errorf("phase %d step %d after=%v: killed at %q, the end is\n%swant\n%s", phase, step, after, died, got, want)
							}
						})
					}
				}
			}
			t.Logf("killed %d times", kills)
			if kills < 100 {
				t.Errorf("the agent was killed %d times only", kills)
			}
		})
	}
}

// carvedNow runs do in a world with a settled agent that looks after a pool.
func carvedNow(t *testing.T, do func(t *testing.T, w *world, a *Agent)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		w.carved = carvedWorld{store: &store{total: 100 * mib, pieces: map[pool.ID]*stored{}}, claims: map[string]*corev1.PersistentVolumeClaim{}}
		a, stop := w.start(t, 0, false)
		ctx, cancel := context.WithCancel(t.Context())
		w.carves(ctx, a)
		settle()
		do(t, w, a)
		cancel()
		stop()
	})
}

// TestUnknownVolumeIsKept: a volume that neither the journal nor a PV knows is
// kept, reported with the claim that it was carved for, and goes back to that, or
// away, at a person's word.
func TestUnknownVolumeIsKept(t *testing.T) {
	for _, word := range []volume.Word{volume.Republish, volume.Erase} {
		t.Run(string(word), func(t *testing.T) { keepsUnknown(t, word) })
	}
}

func keepsUnknown(t *testing.T, word volume.Word) {
	carvedNow(t, func(t *testing.T, w *world, _ *Agent) {
		w.place("a", 40*mib)
		settle()
		w.bindCarved()
		settle()
		w.mu.Lock()
		clear(w.records)
		clear(w.pvs)
		w.carved.store.pieces["pvc-a"].bytes = "secret"
		w.mu.Unlock()
		w.process.dead = true // a new process on a machine that lost its journal, in a cluster that lost its PVs
		a2, stop := w.start(t, 0, false)
		ctx, cancel := context.WithCancel(t.Context())
		defer stop()
		defer cancel()
		w.editClaim("a", func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "" })
		w.editClaim("a", func(c *corev1.PersistentVolumeClaim) { now := metav1.Now(); c.DeletionTimestamp = &now })
		w.carves(ctx, a2)
		settle()
		r, ok := w.process.Get(carvedID("pvc-a"))
		if !ok || r.State != volume.Quarantined || r.Claim == nil || r.Claim.Name != "a" || r.Class != "carved" {
			t.Fatalf("the record is %+v", r)
		}
		if w.carved.store.pieces["pvc-a"].bytes != "secret" {
			t.Error("its bytes are gone")
		}
		v, err := desk{a2}.Volume(string(r.ID))
		if err != nil || v.Pool != "pool" || v.Bytes != 40*mib || v.Path != a2.handle("pool", "pvc-a") || v.Identity != "carved:pvc-a" || v.Entry != "pvc-a" || v.Claim != "ns/a" {
			t.Errorf("a person is shown %+v (%v)", v, err)
		}
		if err := say(t, a2, r.Identity, volume.Release, ""); err == nil || !strings.Contains(err.Error(), "carved for one claim") {
			t.Errorf("to release it: %v", err)
		}
		if err := say(t, a2, r.Identity, word, ""); err != nil {
			t.Fatal(err)
		}
		settle()
		if word == volume.Erase {
			if end := w.carvedState(); strings.Contains(end, "pvc-a") {
				t.Errorf("after a wipe there is\n%s", end)
			}
			return
		}
		pv := w.pvs["pvc-a"]
		if pv == nil || pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.Name != "a" || pv.Spec.ClaimRef.UID != "" {
			t.Errorf("its PV is %+v", pv)
		}
	})
}

// TestClaimRefused: what no pool can give is told on the claim, and leaves
// nothing.
func TestClaimRefused(t *testing.T) {
	carvedNow(t, func(t *testing.T, w *world, _ *Agent) {
		w.place("a", 40*mib)
		w.editClaim("a", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		})
		settle()
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.carved.store.pieces) != 0 || len(w.pvs) != 0 || len(w.records) != 0 {
			t.Errorf("left behind: %v %v", w.carved.store.pieces, w.records)
		}
		if !slices.ContainsFunc(w.events, func(e string) bool { return e == "PersistentVolumeClaim ClaimRefused" }) {
			t.Errorf("the claim was not told: %v", w.events)
		}
	})
}

// TestClassesGetTheirRoom: a class that comes or goes has an object that says
// what room there is, or has none any more.
func TestClassesGetTheirRoom(t *testing.T) {
	carvedNow(t, func(t *testing.T, w *world, a *Agent) {
		wantRoom := func(classes int) {
			t.Helper()
			settle()
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.carved.room) != classes {
				t.Errorf("the scheduler knows %+v, which is not of %d classes", w.carved.room, classes)
			}
		}
		wantRoom(1)
		_ = a.classes.Delete(&carvedClass)
		wantRoom(0)
		_ = a.classes.Add(&carvedClass)
		wantRoom(1)
	})
}

// TestHalfRemoved: a volume whose name is gone, and not all of it, is removed
// again until it is.
func TestHalfRemoved(t *testing.T) {
	carvedNow(t, func(t *testing.T, w *world, _ *Agent) {
		w.place("a", 40*mib)
		settle()
		w.bindCarved()
		settle()
		w.mu.Lock()
		w.carved.store.halves = 2
		w.mu.Unlock()
		w.releaseCarved("a")
		settle()
		if got := w.carvedState(); got != "room [{carved 104857600 104857600}]\n" {
			t.Errorf("left behind:\n%s", got)
		}
	})
}
