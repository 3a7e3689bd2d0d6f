package agent

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/job"
	"github.com/berth-storage/berth/internal/volume"
)

// TestFailingProgramIsBounded: a Job or a command that fails is tried ten
// times in a row, less and less often, and then not again until something has
// changed. The report says how often, why, and what to do.
func TestFailingProgramIsBounded(t *testing.T) {
	command := testClass
	command.Wipe = config.Wipe{Method: config.WipeCommand, Command: []string{"/bin/erase"}, Passes: 1, Timeout: time.Hour}
	for name, class := range map[string]config.Class{"Job": classWithJob(), "command": command} {
		for what, change := range map[string]func(w *world, a *Agent) (restart bool){
			"edited": func(_ *world, a *Agent) bool {
				a.configure(func(c *config.Agent) { c.Classes[0].Wipe.Timeout = 2 * time.Hour })
				return false
			},
			"tolerations": func(_ *world, a *Agent) bool {
				a.configure(func(c *config.Agent) { c.JobTolerations = []config.Toleration{{Operator: "Exists"}} })
				return false
			},
			"disk taken out": func(w *world, a *Agent) bool {
				var d *fakeDisk
				w.do(func() { d = w.disks["dev"]; delete(w.disks, "dev") })
				a.trigger(false)
				settle()
				w.do(func() { w.disks["dev"] = d })
				a.trigger(false)
				return false
			},
			"restart": func(*world, *Agent) bool { return true },
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(map[string]*fakeDisk{"dev": {identity: "wwid:2", device: true}})
					w.jobFate = func() error { return fmt.Errorf("%w: exit status 7", job.ErrFailed) }
					w.disks["dev"].unwiped = errors.New("exit status 7")
					a, stop := w.startWith(t, 0, false, class)
					defer func() { stop() }()
					tries := func() (n int) { w.do(func() { n = w.made + len(w.wipes) }); return n }
					w.use(t)
					for range 30 { // what comes by does not hurry it
						time.Sleep(time.Second)
						a.kickAll()
					}
					if n := tries(); n < 2 || n > 6 {
						t.Errorf("%d tries in the first 30 s", n)
					}
					for range 60 {
						time.Sleep(time.Minute)
						a.trigger(true)
					}
					if n := tries(); n != maxTries {
						t.Fatalf("%d tries, want %d", n, maxTries)
					}
					got := a.told(volume.IDOf("wwid:2"))
					for _, want := range []string{"failed 10 times in a row", "exit status 7", "wipe of class fast is edited", "restarted"} {
						if got.reason != api.ReasonWipeFailed || !strings.Contains(got.message, want) {
							t.Errorf("told %q, want %q in it", got, want)
						}
					}
					wantState(t, w, volume.IDOf("wwid:2"), volume.Wiping)
					w.do(func() {
						if n := strings.Count(strings.Join(w.events, ","), "PersistentVolume WipeFailed"); n != 2 {
							t.Errorf("%d events, want one for the first failure and one for the last: %q", n, w.events)
						}
						w.disks["dev"].unwiped, w.jobFate = nil, nil
					})
					if change(w, a) {
						stop()
						a, stop = w.startWith(t, 0, false, class)
					}
					settle()
					wantNames(t, w, "dev Available")
					if got := a.told(volume.IDOf("wwid:2")); got != (report{}) {
						t.Errorf("still told %q", got)
					}
				})
			})
		}
	}
}

// TestNativeWipeGoesOn: the agent's own wipe is tried for ever, as a disk's
// errors may pass.
func TestNativeWipeGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"dev": {identity: "wwid:2", device: true}})
		w.disks["dev"].unwiped = errors.New("I/O error")
		_, stop := w.start(t, 0, false)
		defer stop()
		w.use(t)
		time.Sleep(6 * time.Hour)
		w.do(func() {
			if n := len(w.wipes); n < 6*12 {
				t.Errorf("%d tries in 6 hours", n)
			}
			w.disks["dev"].unwiped = nil
		})
		time.Sleep(diskRetry)
		settle()
		wantNames(t, w, "dev Available")
	})
}

// TestServerAwayIsNoFailure: an API server that is away while a Job runs, or
// before it is made, is no failed try.
func TestServerAwayIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"dev": {identity: "wwid:2", device: true}})
		a, stop := w.startWith(t, 0, false, classWithJob())
		defer stop()
		w.do(func() { w.noJobs = true })
		w.use(t)
		time.Sleep(time.Hour)
		w.do(func() { w.noJobs = false })
		time.Sleep(2*apiRetry + jobTime)
		synctest.Wait()
		wantNames(t, w, "dev Available")
		if n := a.tries.get(volume.IDOf("wwid:2"), attempt{}).failed; n != 0 {
			t.Errorf("%d failures are counted", n)
		}
	})
}
