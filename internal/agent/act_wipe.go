package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
	"github.com/berth-storage/berth/internal/wipe"
)

// wipe erases a volume when it is its turn on the disk.
func (a *Agent) wipe(ctx context.Context, id volume.ID, s *situation, r volume.Record) (step, error) {
	if r.Carved != nil {
		return a.wipeNow(ctx, id, s, r)
	}
	if a.slots.mayBeCopied() {
		return halt, later{firstRetry}
	}
	if found, _ := a.slots.find(id, s.slot.entry.key()); found.disk == nil || found.disk.Copy != "" {
		return goOn, nil // it was seen since
	}
	if byProgram(s.slot) {
		if may, err := a.mayTry(id, s); !may {
			return halt, err
		}
	}
	queue := turn{a.machine.Disk(s.slot.entry), s.slot.entry.Kind == kindDevice}
	giveBack, waited, err := a.turns.take(ctx, queue, func() {
		a.log.Debug("a wipe waits for others on its disk", "volume", id, "disk", r.Identity, "device", queue.disk)
	})
	if err != nil {
		return halt, err
	}
	defer giveBack()
	if entry := s.slot.entry; waited { // much may have changed
		if !a.gather(id, s) || s.slot.entry != entry {
			return goOn, nil
		}
		d := volume.Decide(s.in)
		if d.Verb != volume.Wipe {
			return goOn, nil
		}
		r = *d.Record
	}
	return a.wipeNow(ctx, id, s, r)
}

// wipeNow erases a volume, after asking the API server itself once more whether
// it may.
func (a *Agent) wipeNow(ctx context.Context, id volume.ID, s *situation, r volume.Record) (step, error) {
	// From here on the watch stops it: what changes after the answer is not missed.
	wiping, progress, end := a.wipings.begin(ctx, r)
	defer end()
	var pv *pvObject
	var err error
	if r.PV.Name != "" { // else a CSI client's, which has no PV of Berth's
		pv, err = limited(ctx, a, func() (*pvObject, error) { return a.cluster.Get(ctx, r.PV.Name) })
	}
	if err != nil {
		return halt, err
	}
	switch {
	case pv != nil && r.Asked != "":
		if err := a.unspoken(pv, s, r); err != nil {
			return halt, err
		}
	case pv != nil:
		v, ok := publish.View(pv)
		if !ok || v.Identity != "" && volume.IDOf(v.Identity) != id {
			return halt, fmt.Errorf("PV %s is another volume's now", r.PV.Name)
		}
		if v.UID != r.PV.UID || !v.Released || !v.Delete {
			a.store.Put(pv, !a.node.Labelled(pv))
			return halt, fmt.Errorf("PV %s is not released any more", r.PV.Name)
		}
	}
	started := time.Now()
	if r.Carved == nil {
		a.metrics.established.begins(id, s)
	}
	told := r // which changes below
	a.running.Go(func() { a.tellProgress(wiping, told, progress) })
	a.running.Go(func() { a.tellHang(wiping, told, progress) })
	result, err := a.erase(wiping, s, &r, progress)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(wiping), errStopped) {
		return a.stopped(ctx, s, &r)
	}
	var soon away
	if err != nil && (ctx.Err() != nil || errors.As(err, &soon)) {
		return halt, err
	}
	if errors.Is(err, pool.ErrBusy) { // the kubelet takes its mounts away after the claim is gone
		return halt, err
	}
	a.metrics.wiped(id, s.slot.class, result, time.Since(started), err)
	if err != nil && failedProgram(s.slot, err) {
		return halt, a.tryFailed(id, s, err)
	}
	if err != nil {
		return halt, fmt.Errorf("%w: %w", errDisk, err)
	}
	a.tries.forget(id)
	message := "wiped and verified"
	switch result.Method {
	case methodCommand:
		message = "wiped, as its command says"
	case methodJob:
		message = "wiped, as its Job says"
	}
	a.log.Info(message, "pv", r.PV.Name, "volume", r.ID, logged(r), "method", result.Method,
		"entries", result.Entries, "bytes", result.Bytes, "seconds", time.Since(started).Seconds())
	r.State, r.Offset, r.OffsetOf = volume.Wiped, 0, ""
	if r.Carved != nil {
		return goOn, a.keep(r)
	}
	a.judgeAnew(s.slot)
	a.slots.remark(s.slot.entry.key(), r.Identity, func(d *volume.Disk) { d.Mark = nil })
	r.Mark, r.MarkBefore = "", ""
	return goOn, a.keep(r)
}

// erase does the erasing, as the volume's class wants it. It notes in r how far
// it has come.
func (a *Agent) erase(ctx context.Context, s *situation, r *volume.Record, progress *wipe.Progress) (wipeResult, error) {
	if r.Carved != nil {
		return a.eraseCarved(ctx, s, r, progress)
	}
	if wantsJob(s.slot) {
		return a.eraseInJob(ctx, s, r)
	}
	if r.Job != "" { // of a configuration before this one
		if err := a.stopJob(ctx, s, r); err != nil {
			return wipeResult{}, err
		}
	}
	if of := offsetOf(s.slot); r.OffsetOf != of {
		r.Offset, r.OffsetOf = 0, of
	}
	pv, id := r.PV.Name, r.ID
	return a.machine.Wipe(ctx, s.slot.class, wipeJob{
		Entry: s.slot.entry, Identity: r.Identity, Root: r.Root, Offset: r.Offset, Progress: progress,
		Reached: func(offset int64) error {
			r.Offset = offset
			return a.keep(*r)
		},
		Output: func(line string) { a.log.Info("cleaner", "pv", pv, "volume", id, "line", line) },
	})
}
