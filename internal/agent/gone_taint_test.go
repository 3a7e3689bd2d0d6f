package agent

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/volume"
)

// taintClass is testClass whose node is tainted while a disk is gone.
func taintClass(w *world, policy config.WhenGone) config.Class {
	class := testClass
	class.WhenGone = policy
	w.class = &class
	return class
}

// startGone begins a life of the agent that keeps the taint.
func (w *world) startGone(t *testing.T) (a *Agent, stop func()) {
	t.Helper()
	a, end := w.start(t, 0, false)
	ctx, cancel := context.WithCancel(t.Context())
	a.running.Go(func() { a.keepGoneTaint(ctx) })
	return a, func() { cancel(); end() }
}

// setPolicy puts a configuration in force with another policy for the class.
func setPolicy(w *world, a *Agent, policy config.WhenGone) {
	cfg := *a.config()
	cfg.Classes = []config.Class{taintClass(w, policy)}
	a.current.Store(&cfg)
	a.trigger(false)
}

// TestGoneTaint: the node has the taint while the disk of a bound volume is gone
// and its class asks for it, restarts of the agent or not, and no longer.
func TestGoneTaint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
		w.do(func() { w.taints = []string{"other"} })
		taintClass(w, config.TaintNode)
		a, stop := w.startGone(t)
		defer func() { stop() }()
		settle()
		disk := w.take()
		a.trigger(false)
		settle()
		wantTaints(t, w, "gone while nobody has it", "other")
		w.giveBack(disk)
		a.trigger(false)
		settle()
		bind(t, w)
		wantTaints(t, w, "bound", "other")
		w.take()
		a.trigger(false)
		settle()
		wantTaints(t, w, "gone", "other", api.TaintDiskGone)
		stop()
		w.do(func() { w.trail = nil })
		a, stop = w.startGone(t)
		for range 20 { // at no moment of the start is it away
			time.Sleep(20 * time.Millisecond)
			synctest.Wait()
			wantTaints(t, w, "after a restart", "other", api.TaintDiskGone)
		}
		settle()
		w.do(func() {
			for _, step := range w.trail {
				if step == "remove taint" || step == "add taint" {
					t.Errorf("a restart does: %s", step)
				}
			}
		})

		setPolicy(w, a, config.Report)
		settle()
		wantTaints(t, w, "policy switched off", "other")
		setPolicy(w, a, config.TaintNode)
		settle()
		wantTaints(t, w, "policy switched on", "other", api.TaintDiskGone)
		w.do(func() { w.taints = []string{"other"} })
		a.trigger(true)
		settle()
		wantTaints(t, w, "taken off by a person", "other")
		stop()
		a, stop = w.startGone(t)
		settle()
		wantTaints(t, w, "after the next restart", "other", api.TaintDiskGone)

		w.giveBack(disk)
		a.trigger(false)
		settle()
		wantTaints(t, w, "back", "other")
		w.take()
		a.trigger(false)
		settle()
		wantTaints(t, w, "gone again", "other", api.TaintDiskGone)
		stop()
		w.giveBack(disk)
		a, stop = w.startGone(t)
		settle()
		wantTaints(t, w, "back while the agent was away", "other")
		w.take()
		a.trigger(false)
		settle()
		w.releaseAll()
		settle()
		wantTaints(t, w, "released while it is gone", "other")
		wantState(t, w, volume.IDOf("fs:1:/"), volume.Used) // its wipe waits
	})
}

// Before the PVs have been read nothing is said of the taint.
func TestGoneTaintBeforeTheList(t *testing.T) {
	a := newAgent(t.Context(), testNode(), nil, nil, nil, slog.New(slog.DiscardHandler))
	a.current.Store(&config.Agent{Classes: []config.Class{testClass}})
	if want, known := a.wantsGoneTaint(); want || known {
		t.Errorf("want=%v known=%v", want, known)
	}
}

// A taint that an earlier agent has left goes, on a node without volumes, too.
func TestGoneTaintLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		w.do(func() { w.taints = []string{api.TaintDiskGone} })
		_, stop := w.startGone(t)
		defer stop()
		settle()
		wantTaints(t, w, "nothing is gone")
	})
}

// A taint that cannot be written is reported, and written when it can.
func TestGoneTaintRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
		taintClass(w, config.TaintNode)
		a, stop := w.startGone(t)
		defer stop()
		settle()
		bind(t, w)
		w.do(func() { w.noTaint = errors.New("no update") })
		disk := w.take()
		a.trigger(false)
		settle()
		if n := a.reports.counts()[api.ReasonTaintNotSet]; n != 1 {
			t.Errorf("TaintNotSet is reported %d times", n)
		}
		w.do(func() { w.noTaint = nil })
		time.Sleep(taintRetry)
		settle()
		wantTaints(t, w, "allowed", api.TaintDiskGone)
		w.do(func() { w.noTaint = errors.New("no update") })
		w.giveBack(disk)
		a.trigger(false)
		settle()
		if n := a.reports.counts()[api.ReasonTaintNotRemoved]; n != 1 {
			t.Errorf("TaintNotRemoved is reported %d times", n)
		}
		w.take() // it is wanted again
		a.trigger(false)
		time.Sleep(taintRetry)
		settle()
		if len(a.reports.counts()) != 1 {
			t.Errorf("reported: %v", a.reports.counts())
		}
		wantTaints(t, w, "gone again", api.TaintDiskGone)
	})
}
