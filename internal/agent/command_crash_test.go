package agent

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/volume"
)

// decide runs a person's decision over two quarantined volumes with an agent
// that dies at one step of it and is started again, and returns the end and how
// many steps there were. The person gives a command again that the agent died
// over before it was on record.
func decide(t *testing.T, prepare func(*world), word volume.Word, dieAt int, after bool) (end string, steps int, died string) {
	w := heldBack(t, prepare)
	a, stop := w.start(t, 0, false)
	settle()
	w.do(func() { // left by a person who has tried something
		pv := w.handMade(a, "dir", heldDir)
		pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: "by-hand", UID: "c"}
		pv.Status.Phase = corev1.VolumeReleased
		w.store(pv)
	})
	settle()
	before := 0
	w.do(func() {
		before = len(w.trail)
		w.process.steps, w.process.dieAt, w.process.after = 0, dieAt, after
	})
	err := say(t, a, heldDir, word, "")
	if err == nil {
		err = say(t, a, heldDev, word, "")
	}
	settle()
	dead := false
	w.do(func() {
		steps = len(w.trail) - before
		if dead = w.process.dead; dead {
			died = w.trail[len(w.trail)-1]
		}
	})
	if err != nil && !dead {
		t.Fatalf("%s: %v", word, err)
	}
	if dead {
		stop()
		a, stop = w.start(t, 0, false)
		settle()
		w.do(func() {
			for id, r := range w.records {
				if r.Asked != "" {
					t.Errorf("after a start and a while, %s of %s is still to be done: %+v", r.Asked, id, r)
				}
			}
		})
		for _, identity := range []disk.ID{heldDir, heldDev} {
			var state volume.State
			w.do(func() { state = w.records[volume.IDOf(identity)].State })
			if state != volume.Quarantined {
				continue
			}
			if err := say(t, a, identity, word, ""); err != nil {
				t.Errorf("%s again: %v", word, err)
			}
		}
		settle()
	}
	stop()
	end = w.state()
	for _, name := range slices.Sorted(maps.Keys(w.pvs)) {
		if c := w.pvs[name].Spec.ClaimRef; c != nil {
			end += "for " + c.Namespace + "/" + c.Name + " " + string(c.UID) + "\n"
		}
	}
	return end, steps, died
}

// TestCrashDuringCommands kills the agent before and after each step of each
// command: the end is the same, and that of the command.
func TestCrashDuringCommands(t *testing.T) {
	forms := map[string]func(*world){
		"as installed": nil,
		"standing in":  func(w *world) { w.unheld = true },
		devicesInJobs: func(w *world) {
			class := testClass
			class.Wipe.Job = true
			w.class = &class
		},
	}
	for form, prepare := range forms {
		for _, word := range volume.Words {
			t.Run(string(word)+", "+form, func(t *testing.T) {
				var want string
				var steps int
				synctest.Test(t, func(t *testing.T) { want, steps, _ = decide(t, prepare, word, 0, false) })
				t.Logf("%d steps; end:\n%s", steps, want)
				if held := strings.Count(want, "secret"); held != map[volume.Word]int{volume.Release: 2, volume.Republish: 2}[word] {
					t.Errorf("%d disks hold the first claims' bytes", held)
				}
				kills := 0
				for step := 1; step <= steps; step++ {
					for _, after := range []bool{false, true} {
						synctest.Test(t, func(t *testing.T) {
							got, _, died := decide(t, prepare, word, step, after)
							if died != "" {
								kills++
							}
							if got != want {
								t.Errorf("killed at %q (step %d, after %v), the end is\n%swant\n%s", died, step, after, got, want)
							}
						})
					}
				}
				if kills < steps {
					t.Errorf("the agent was killed %d times in %d steps", kills, steps)
				}
			})
		}
	}
}
