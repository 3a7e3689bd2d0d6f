package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/job"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

func classWithJob() config.Class {
	class := testClass
	class.Wipe = config.Wipe{Method: config.WipeShred, Passes: 3, Timeout: time.Hour, Job: true}
	return class
}

// use has every volume claimed and released.
func (w *world) use(t *testing.T) {
	settle()
	w.claimAll(t, "tenant")
	settle()
	w.releaseAll()
	synctest.Wait()
}

// told is the report about a volume.
func (a *Agent) told(id volume.ID) report {
	a.reports.mu.Lock()
	defer a.reports.mu.Unlock()
	return a.reports.current[volumeSubject(id)]
}

// configure puts another configuration in force, as a reload does.
func (a *Agent) configure(change func(*config.Agent)) {
	cfg := *a.config()
	cfg.Classes = slices.Clone(cfg.Classes)
	change(&cfg)
	a.current.Store(&cfg)
	a.kickAll()
	a.trigger(false)
}

// TestWipeInJob: what the Job is made of, and that directories are never wiped
// in one.
func TestWipeInJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"dev": {identity: "wwid:2", device: true}, "dir": {identity: "fs:1:/"}})
		_, stop := w.startWith(t, 0, false, classWithJob())
		defer stop()
		w.use(t)
		var uid string
		w.do(func() {
			pv := w.pvs[publish.Name("dev", "node-1", "fast")]
			uid = string(pv.UID)
			j := w.jobs[pv.Name]
			if j == nil {
				t.Fatal("no Job was made")
			}
			got := fmt.Sprintln(j.uid == uid, j.spec.Node, j.spec.Hostname, j.spec.HostDir, j.spec.MountDir, j.spec.Entry, j.spec.Identity, j.spec.Image, j.spec.Command, j.spec.Timeout)
			if want := "true node-1 host-1 /mnt/disks /mnt/disks dev wwid:2 berth:1 [/scripts/shred.sh 3] 1h0m0s\n"; got != want {
				t.Errorf("the Job is of %s", got)
			}
			if w.records[volume.IDOf("wwid:2")].Job != pv.Name {
				t.Error("the journal does not name the Job")
			}
		})
		settle()
		w.do(func() {
			if pv := w.pvs[publish.Name("dev", "node-1", "fast")]; pv == nil || string(pv.UID) == uid {
				t.Error("it was not published anew")
			}
			if len(w.jobs) != 0 || w.made != 1 || !slices.Equal(w.wipes, []string{"dir"}) {
				t.Errorf("%d Jobs are left of %d, the agent itself has wiped %q", len(w.jobs), w.made, w.wipes)
			}
		})
	})
}

// TestJobNeedsImage: without one nothing is wiped, and the report says what is
// missing.
func TestJobNeedsImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"dev": {identity: "wwid:2", device: true}})
		a, stop := w.startWith(t, 0, false, classWithJob())
		defer stop()
		a.jobImage = ""
		w.use(t)
		settle()
		got := a.told(volume.IDOf("wwid:2"))
		if got.reason != api.ReasonWipeFailed || !strings.Contains(got.message, "--job-image or JOB_CONTAINER_IMAGE") {
			t.Errorf("told %q", got)
		}
		wantState(t, w, volume.IDOf("wwid:2"), volume.Wiping)
	})
}

// TestJobOfAnotherConfiguration: a Job that may still write to a device is
// ended before the agent wipes it, and hands it out.
func TestJobOfAnotherConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"dev": {identity: "wwid:2", device: true}})
		_, stop := w.startWith(t, 0, false, classWithJob())
		w.use(t)
		stop()
		w.do(func() { w.trail = nil })
		_, stop = w.start(t, 0, false)
		defer stop()
		settle()
		wantNames(t, w, "dev Available")
		w.do(func() {
			ended, wiped := slices.Index(w.trail, "stop Job"), slices.Index(w.trail, "wipe dev begins")
			if ended < 0 || wiped < ended || len(w.jobs) > 0 {
				t.Errorf("steps are %q", w.trail)
			}
			if r := w.records[volume.IDOf("wwid:2")]; r.Job != "" {
				t.Errorf("the journal still names Job %s", r.Job)
			}
		})
	})
}

// TestDiskChangesUnderJob: a Job that may have wiped another disk counts for
// nothing, and none is made for another disk.
func TestDiskChangesUnderJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"dev": {identity: "wwid:2", device: true}})
		_, stop := w.startWith(t, 0, false, classWithJob())
		defer stop()
		w.use(t)
		time.Sleep(jobTime - time.Second)
		var own *fakeDisk
		w.do(func() {
			own = w.disks["dev"]
			w.disks["dev"] = &fakeDisk{identity: "wwid:3", device: true} // unnoticed
		})
		settle()
		wantNames(t, w, "dev Released")
		wantState(t, w, volume.IDOf("wwid:2"), volume.Wiping)
		w.do(func() {
			if w.made != 1 || len(w.jobs) != 0 {
				t.Errorf("%d Jobs of %d are there", len(w.jobs), w.made)
			}
			w.disks["dev"] = own
		})
		time.Sleep(time.Hour)
		wantNames(t, w, "dev Available")
		w.do(func() {
			if w.made != 2 || own.bytes != "" {
				t.Errorf("after %d Jobs the disk has %q", w.made, own.bytes)
			}
		})
	})
}

// TestJobWaits: a Job that does not start is reported, until it does.
func TestJobWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"dev": {identity: "wwid:2", device: true}})
		a, stop := w.startWith(t, 0, false, classWithJob())
		defer stop()
		w.use(t)
		var spec job.Spec
		w.do(func() { spec = w.jobs[publish.Name("dev", "node-1", "fast")].spec })
		spec.Tell("Job x has not started")
		if got := a.told(volume.IDOf("wwid:2")); got.reason != api.ReasonWipeWaiting || !strings.Contains(got.message, "Job x has not started") {
			t.Errorf("told %q", got)
		}
		spec.Tell("")
		if got := a.told(volume.IDOf("wwid:2")); got != (report{}) {
			t.Errorf("still told %q", got)
		}
		settle()
	})
}
