package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/berth-storage/berth/internal/config"
)

const startupKey = "berth.example/starting"

// startTainted begins a life of the agent on a node with two taints, one of
// which is the start-up taint.
func (w *world) startTainted(t *testing.T) (a *Agent, stop func()) {
	t.Helper()
	w.do(func() { w.taints = []string{startupKey, "other"} })
	a, end := w.start(t, 0, false)
	setTaint(a, startupKey)
	ctx, cancel := context.WithCancel(t.Context())
	a.running.Go(func() { a.keepUntainted(ctx) })
	return a, func() { cancel(); end() }
}

// setTaint puts a configuration in force that differs in the start-up taint.
func setTaint(a *Agent, key string) {
	cfg := *a.config()
	cfg.StartupTaint = key
	a.current.Store(&cfg)
	a.trigger(false)
}

func wantTaints(t *testing.T, w *world, when string, want ...string) {
	t.Helper()
	w.do(func() {
		if !slices.Equal(w.taints, want) {
			t.Errorf("%s: taints are %q, want %q", when, w.taints, want)
		}
	})
}

func (w *world) tries() (n int) {
	w.do(func() {
		for _, s := range w.trail {
			if s == "remove taint" {
				n++
			}
		}
	})
	return n
}

// The start-up taint goes once the volumes are published, not before, and once.
func TestStartupTaint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		well := make(chan struct{})
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/", hang: well}, "b": {identity: "fs:2:/"}})
		a, stop := w.startTainted(t)
		defer stop()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		wantTaints(t, w, "a disk was not looked at yet", startupKey, "other")
		if n := w.tries(); n != 0 {
			t.Errorf("before it is ready the agent has asked for the taint's removal %d times", n)
		}
		close(well)
		time.Sleep(time.Second)
		synctest.Wait()
		wantNames(t, w, "a Available", "b Available")
		wantTaints(t, w, "published", "other")

		w.do(func() { w.taints = append(w.taints, startupKey) })
		a.trigger(true)
		settle()
		wantTaints(t, w, "set again by somebody", "other", startupKey)
		setTaint(a, "other")
		settle()
		wantTaints(t, w, "another key in the configuration", startupKey)
		setTaint(a, "")
		settle()
		if n := w.tries(); n != 2 {
			t.Errorf("the agent has asked for a taint's removal %d times, want 2", n)
		}
	})
}

// A node without volumes, and one with a hung disk, lose the taint too.
func TestStartupTaintWithoutVolumes(t *testing.T) {
	for what, disks := range map[string]map[string]*fakeDisk{
		"none": {},
		"hung": {"a": {identity: "fs:1:/", hang: make(chan struct{})}},
	} {
		synctest.Test(t, func(t *testing.T) {
			if what == "hung" {
				disks["a"].hang = make(chan struct{}) // of this bubble
			}
			w := newWorld(disks)
			_, stop := w.startTainted(t)
			time.Sleep(inspectPatience + time.Second)
			synctest.Wait()
			wantTaints(t, w, what, "other")
			if what == "hung" {
				close(disks["a"].hang)
			}
			stop()
		})
	}
}

// On a node without volumes the list of PVs may be the last that is waited for.
func TestStartupTaintAfterTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		w.taints = []string{startupKey}
		ctx, cancel := context.WithCancel(t.Context())
		p := &process{w: w, kill: cancel}
		a := newAgent(ctx, testNode(), p, fakeAPI{p}, p, slog.New(slog.DiscardHandler))
		a.current.Store(&config.Agent{Classes: []config.Class{testClass}, StartupTaint: startupKey})
		a.running.Go(func() { a.keepUntainted(ctx) })
		a.discover(ctx, true)
		settle()
		wantTaints(t, w, "PVs not read", startupKey)
		if err := a.store.Replace(nil, ""); err != nil {
			t.Fatal(err)
		}
		settle()
		wantTaints(t, w, "PVs read")
		cancel()
		a.running.Wait()
	})
}

// A taint that cannot be removed is reported once and tried again; a conflict
// is only tried again.
func TestStartupTaintStays(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		events []string
	}{
		{"forbidden", apierrors.NewForbidden(corev1.Resource("nodes"), "node-1", errors.New("no right")), []string{"Node TaintNotRemoved"}},
		{"conflict", apierrors.NewConflict(corev1.Resource("nodes"), "node-1", errors.New("changed")), nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
			w.do(func() { w.noTaint = c.err })
			a, stop := w.startTainted(t)
			defer stop()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			wantTaints(t, w, c.name, startupKey, "other")
			if n := w.tries(); n < 3 || n > 10 {
				t.Errorf("%s: tried %d times in 5 s", c.name, n)
			}
			w.do(func() {
				w.noTaint = nil
				if !slices.Equal(w.events, c.events) {
					t.Errorf("%s: events are %q, want %q", c.name, w.events, c.events)
				}
			})
			settle()
			wantTaints(t, w, c.name+", then allowed", "other")
			if _, still := a.reports.about(taintSubject); still {
				t.Errorf("%s: it is removed, and the report stays", c.name)
			}
		})
	}
}

// A configuration without the key ends the tries for the one that had it.
func TestStartupTaintNotWantedAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		w.do(func() { w.noTaint = errors.New("no") })
		a, stop := w.startTainted(t)
		defer stop()
		settle()
		before := w.tries()
		setTaint(a, "")
		settle()
		settle()
		if n := w.tries(); n > before+1 || len(a.reports.counts()) != 0 {
			t.Errorf("%d tries more, reports %v", n-before, a.reports.counts())
		}
	})
}
