package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/volume"
)

// inspections is how many disks are looked at together. A disk that hangs
// keeps one of these places.
const inspections = 64

// discover reads the discovery directories once and starts what follows from
// it. With full set, disks that look unchanged are looked at again too.
func (a *Agent) discover(ctx context.Context, full bool) {
	cfg := a.config()
	if cfg == nil {
		return
	}
	a.onDevices.Store(true) // for a device that changes after the scan has looked at it
	entries, errs, err := a.machine.Scan(cfg.Classes)
	if err != nil {
		a.log.Error("discovery failed", "err", err)
		return
	}
	a.metrics.lastScan.SetToCurrentTime()
	a.onDevices.Store(slices.ContainsFunc(entries, func(e entry) bool { return e.Kind != kindMount }))
	classes := map[string]config.Class{}
	for _, c := range cfg.Classes {
		classes[c.Name] = c
		a.reportDir(c, errs[c.Name])
	}
	touched := a.slots.update(entries, classes, errs, full, func(k key) { a.goInspect(ctx, k) })
	for _, k := range touched.gone {
		a.reports.clear(entrySubject(k))
		a.reports.clear(doubleSubject(k))
	}
	a.reportDoubles(touched.volumes)
	for _, id := range touched.volumes {
		a.volumes.kick(id)
	}
	if first := a.discovered.CompareAndSwap(false, true); first {
		a.kickAll()
	}
	a.progress()
}

// goInspect looks at the disk behind an entry, in a goroutine of its own: a
// disk that hangs must not keep others waiting. The caller holds slots.mu.
func (a *Agent) goInspect(ctx context.Context, k key) {
	hung := a.reportHung(ctx, k)
	a.running.Go(func() {
		defer a.progress()
		defer hung.Stop()
		select {
		case a.inspecting <- struct{}{}:
			defer func() { <-a.inspecting }()
		case <-ctx.Done():
			return
		}
		for a.inspect(ctx, k) {
		}
	})
}

// inspect looks at one entry and takes in the result. It reports whether the
// entry has changed since and must be looked at again.
func (a *Agent) inspect(ctx context.Context, k key) (again bool) {
	a.slots.mu.Lock()
	sl := a.slots.byKey[k]
	if sl == nil || ctx.Err() != nil {
		a.slots.mu.Unlock()
		return false
	}
	sl.again = false
	e, class := sl.entry, sl.class
	a.slots.mu.Unlock()

	began := time.Now()
	d, problem, err := a.machine.Inspect(class, e)

	a.slots.mu.Lock()
	if a.slots.byKey[k] != sl {
		a.slots.mu.Unlock()
		return false
	}
	var touched []volume.ID
	again = sl.again
	if !again {
		sl.looking = false
		if err == nil {
			sl.looked, sl.took = true, time.Since(began)
			touched = append(a.slots.set(k, sl, d), a.slots.waiting[k]...)
			delete(a.slots.waiting, k)
		}
	}
	a.slots.mu.Unlock()
	if again {
		return true
	}
	switch {
	case err != nil:
		a.reports.set(entrySubject(k), api.ReasonEntryRefused, refusal(slot{entry: e, class: class}, fmt.Sprintf("could not be looked at, trying again: %v", err)))
		a.retryInspect(ctx)
	case problem != "": // not at once: most plain directories are about to be mounted on
		a.reports.setIfItLasts(entrySubject(k), api.ReasonEntryRefused, refusal(slot{entry: e, class: class}, problem), strayPatience)
	default:
		a.reports.clear(entrySubject(k))
	}
	a.reportDoubles(touched)
	for _, id := range touched {
		a.volumes.kick(id)
	}
	if d != nil && err == nil {
		for _, pv := range a.store.Unidentified(func(pv volume.PV) bool { return pv.Path == d.Path }) {
			a.volumes.kick(unidentified(pv.Name))
		}
	}
	return false
}

// reportDir says, once, that a discovery directory cannot be read.
func (a *Agent) reportDir(c config.Class, err error) {
	subject := "class/" + c.Name
	if err == nil {
		a.reports.clear(subject)
		return
	}
	message := fmt.Sprintf("discovery directory %s of class %s cannot be read: %v", c.MountDir, c.Name, err)
	if errors.Is(err, fs.ErrNotExist) {
		message = fmt.Sprintf("discovery directory %s of class %s does not exist; it is picked up when it appears", c.MountDir, c.Name)
	}
	a.reports.set(subject, api.ReasonDirMissing, message)
}

func entrySubject(k key) string { return "entry/" + k.class + "/" + k.name }

// refusal says of an entry that it is no volume, and why.
func refusal(sl slot, why string) string {
	return fmt.Sprintf("path %q %s", path.Join(sl.class.MountDir, sl.entry.Name), why)
}

// retryInspect looks at everything again after a while, for the sake of a disk
// that could not be looked at.
func (a *Agent) retryInspect(ctx context.Context) {
	time.AfterFunc(inspectRetry, func() {
		if ctx.Err() == nil {
			a.trigger(true)
		}
	})
}

// strayPatience is how long an entry may be no volume before that is reported.
const strayPatience = 2 * time.Second

// inspectRetry is how long a disk that could not be looked at is left alone.
const inspectRetry = 10 * time.Second
