package agent

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/internal/volume"
)

// setPolicy changes the reclaim policy of a PV as a person would.
func (w *world) setPolicy(name string, policy corev1.PersistentVolumeReclaimPolicy) {
	w.edit(name, func(pv *corev1.PersistentVolume) { pv.Spec.PersistentVolumeReclaimPolicy = policy })
}

// TestWipeProgress: a wipe that takes long is told of on its PV, less and less
// often, and has metrics while it runs and none after.
func TestWipeProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wiping := make(chan struct{})
		w := newWorld(map[string]*fakeDisk{
			"dev": {identity: "wwid:1", device: true, wiping: wiping}, "dir": {identity: "fs:2:/", wiping: wiping},
		})
		a, stop := w.start(t, 0, false)
		defer stop()
		w.use(t)
		told := func() (n int) {
			synctest.Wait()
			w.do(func() {
				for _, e := range w.events {
					if e == "PersistentVolume WipeProgress" {
						n++
					}
				}
			})
			return n
		}
		before := 0
		for _, wait := range []time.Duration{29 * time.Second, 2 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour} {
			time.Sleep(wait)
			if n := told(); wait == 29*time.Second && n != 0 || wait != 29*time.Second && n != before+2 {
				t.Errorf("after %v more: told %d times of two wipes, before %d", wait, n, before)
			}
			before = told()
		}
		_, body := scrape(t, a, "/m")
		for _, want := range []string{`berth_wipe_done_bytes{class="fast",phase="erase",pv="`, `berth_wipe_size_bytes{class="fast",phase="erase",pv="`, `berth_wipe_removed_entries{class="fast",pv="`} {
			if strings.Count(body, "\n"+want) != 1 {
				t.Errorf("while they run, not one sample of %s", want)
			}
		}
		close(wiping)
		settle()
		wantNames(t, w, "dev Available", "dir Available")
		if _, body := scrape(t, a, "/m"); strings.Contains(body, "\nberth_wipe_done") || strings.Contains(body, "\nberth_wipe_removed") {
			t.Error("metrics of wipes that have ended")
		}
		time.Sleep(24 * time.Hour)
		if n := told(); n != before {
			t.Errorf("told %d times of wipes that have ended", n-before)
		}
	})
}

// TestHungWipeIsTold: a disk that does not answer in the middle of its wipe is
// reported, once, until the wipe goes on.
func TestHungWipeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wiping := make(chan struct{})
		w := newWorld(map[string]*fakeDisk{"dev": {identity: "wwid:1", device: true, wiping: wiping}})
		a, stop := w.start(t, 0, false)
		defer stop()
		w.use(t)
		time.Sleep(hangPatience - time.Second)
		wantSays(t, a, 0)
		time.Sleep(time.Hour)
		synctest.Wait()
		wantSays(t, a, 1, "DiskHung", "wwid:1", "2m0s")
		told := 0
		w.do(func() {
			for _, e := range w.events {
				if e == "PersistentVolume DiskHung" {
					told++
				}
			}
		})
		if told != 1 {
			t.Errorf("told %d times", told)
		}
		close(wiping)
		settle()
		wantSays(t, a, 0)
		wantNames(t, w, "dev Available")
	})
}

// TestWipeStopped: with the policy Retain a person stops a wipe, in the agent or
// in a Job, at once; with Delete again it begins anew.
func TestWipeStopped(t *testing.T) {
	for _, class := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			wiping := make(chan struct{})
			w := newWorld(map[string]*fakeDisk{"dev": {identity: "wwid:1", device: true, wiping: wiping}})
			c := testClass
			c.Wipe.Job = class
			_, stop := w.startWith(t, 0, false, c)
			defer stop()
			settle()
			w.claimAll(t, "tenant")
			synctest.Wait()
			w.releaseAll()
			time.Sleep(time.Second)
			pv := onePV(w).Name
			began := func() (n int) {
				w.do(func() { n = len(w.wipes) + w.made })
				return n
			}
			if began() != 1 {
				t.Fatalf("Job %v: %d wipes have begun", class, began())
			}
			w.setPolicy(pv, corev1.PersistentVolumeReclaimRetain)
			time.Sleep(time.Second)
			synctest.Wait()
			wantState(t, w, volume.IDOf("wwid:1"), volume.Used)
			wantNames(t, w, "dev Released")
			w.do(func() {
				if len(w.jobs) != 0 || !slices.Contains(w.events, "PersistentVolume WipeStopped") || slices.Contains(w.events, "PersistentVolume WipeFailed") {
					t.Errorf("Job %v: events %q and %d Jobs", class, w.events, len(w.jobs))
				}
			})
			settle()
			if began() != 1 {
				t.Errorf("Job %v: it was begun again", class)
			}
			close(wiping)
			w.setPolicy(pv, corev1.PersistentVolumeReclaimDelete)
			settle()
			wantNames(t, w, "dev Available")
			if began() != 2 {
				t.Errorf("Job %v: %d wipes", class, began())
			}
		})
	}
}

// TestLogged: who reads the log finds a carved volume's pool, and not its name
// once more for a disk.
func TestLogged(t *testing.T) {
	for want, r := range map[string]volume.Record{
		"disk=fs:a": {Identity: "fs:a"},
		"pool=tank": {Identity: volume.CarvedIdentity("pvc-a"), Carved: &volume.Carved{Pool: "tank"}},
	} {
		if got := logged(r).String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
