package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
	"github.com/berth-storage/berth/internal/wipe"
)

// act does what was decided.
func (a *Agent) act(ctx context.Context, id volume.ID, s *situation, d volume.Decision) (step, error) {
	if removed, err := a.removeJob(ctx, s.in.Record); removed {
		return goOn, err
	}
	if stopped, err := a.stopJobForCommand(ctx, s); stopped {
		return goOn, err
	}
	switch d.Verb {
	case volume.Nothing:
		a.reports.clear(volumeSubject(id))
		return halt, nil
	case volume.Wait:
		message := d.Message
		switch d.Cause {
		case volume.Refused, volume.Copied:
			message = refusal(s.slot, message)
		case volume.Held:
			message = fmt.Sprintf("volume %s (class %s, %q) is quarantined: %s; it is held back until a person decides: berth volume show %[1]s", id, s.in.Record.Class, s.in.Record.Entry, message)
		}
		a.reportVolume(id, *s, reasonOf(d.Cause), message)
		return halt, nil
	case volume.Keep:
		if r := d.Record; r.State == volume.Published && r.PV.UID != "" && s.in.PV != nil {
			// Nobody waits for the note of a PV's UID; others may wait to be published.
			select {
			case a.notes <- struct{}{}:
				defer func() { <-a.notes }()
			case <-ctx.Done():
				return halt, ctx.Err()
			}
		}
		return goOn, a.keep(*d.Record)
	case volume.Confirm:
		return goOn, a.confirm(ctx, id, s)
	case volume.Examine:
		empty, err := a.machine.Empty(s.slot.class, s.slot.entry, s.in.Disk.Identity)
		if err != nil {
			return halt, fmt.Errorf("%w: %w", errDisk, err)
		}
		s.in.Empty = &empty
		return goOn, nil
	case volume.SetMark:
		return goOn, a.mark(ctx, s, *d.Record)
	case volume.Publish:
		return a.publish(ctx, s, *d.Record)
	case volume.Withdraw:
		return a.withdraw(ctx, *s.in.PV)
	case volume.LetGo:
		_, err := limited(ctx, a, func() (struct{}, error) { return struct{}{}, a.cluster.LetGo(ctx, *s.in.PV) })
		return halt, err
	case volume.Wipe:
		return a.wipe(ctx, id, s, *d.Record)
	}
	return a.actCarved(ctx, id, s, d)
}

func (a *Agent) keep(r volume.Record) error {
	if r.PV.Name == "" && (r.State == volume.Published || r.State == volume.Returning || r.Asked != "") {
		r.PV.Name = a.pvName(r)
	}
	before, _ := a.journal.Get(r.ID)
	if err := a.put(r); err != nil {
		return err
	}
	a.rebuilt(before, r)
	if was := a.metrics.state(r); r.Carved == nil {
		a.metrics.established.moved(r.ID, was, r.State, a.slots.place(key{r.Class, r.Entry}))
	}
	if !unknown(r.Identity) && before.PV.UID != r.PV.UID {
		a.byPV.Delete(before.PV.UID)
		a.byPV.Store(r.PV.UID, r.Identity)
	}
	a.log.Debug("journal", "volume", r.ID, "state", r.State, "pv", r.PV.Name)
	return a.forgetUnknown(r)
}

// confirm asks the API server itself for a PV that the cache does not have.
func (a *Agent) confirm(ctx context.Context, id volume.ID, s *situation) error {
	r := volume.Record{}
	if s.in.Record != nil {
		r = *s.in.Record
	} else { // a volume that its pool has, and the journal not
		r.Identity, r.PV.Name = s.in.Disk.Identity, s.in.Disk.Entry
	}
	name := r.PV.Name
	if s.in.PV != nil {
		name = s.in.PV.Name // which may be another than the recorded one's
	}
	if name == "" {
		name = a.pvName(r)
	}
	pv, err := limited(ctx, a, func() (*pvObject, error) { return a.cluster.Get(ctx, name) })
	if err != nil {
		return err
	}
	v, ok := a.isOf(pv, r)
	if !ok && pv != nil && s.in.PV != nil && string(pv.UID) == s.in.PV.UID {
		v, ok = publish.View(pv) // whose disk was found out by its place
	}
	if ok {
		if a.node.Labelled(pv) {
			a.store.Put(pv, false)
		} else { // somebody has taken the label off, or it never had one
			a.store.Put(pv, true)
			a.old.kick()
		}
		a.store.Identify(v, r.Identity)
		s.in.Answer = v.ResourceVersion
		return nil
	}
	if s.in.PV != nil { // which the watch has yet to say, and what it says before that is old
		return later{apiRetry}
	}
	s.in.Absent = true // nothing of that name, or another volume's
	return nil
}

// isOf reports whether a PV is a volume's: it says so, or it is the one of the
// volume's record.
func (a *Agent) isOf(pv *pvObject, r volume.Record) (volume.PV, bool) {
	if pv == nil || a.foreign(pv) {
		return volume.PV{}, false
	}
	v, ok := publish.View(pv)
	return v, ok && (v.Identity == r.Identity || v.Identity == "" && v.UID == r.PV.UID)
}

// publish creates a volume's PV.
func (a *Agent) publish(ctx context.Context, s *situation, r volume.Record) (step, error) {
	if r.PV.Name == "" {
		r.PV.Name = a.pvName(r)
	}
	if r.Carved != nil {
		return a.publishCarved(ctx, s, r)
	}
	class, err := a.classFor(s.slot.class.Name)
	if err != nil {
		return halt, err
	}
	started := time.Now()
	pv := publish.PersistentVolume(a.spec(s, r, class), a.node)
	var created bool
	got, err := limited(ctx, a, func() (got *pvObject, err error) {
		got, created, err = a.cluster.Create(ctx, pv)
		return got, err
	})
	if err != nil {
		return halt, err
	}
	if created {
		a.metrics.published(s.slot, time.Since(started))
		a.log.Info("published", "pv", got.Name, "volume", r.ID, "disk", r.Identity, "path", s.in.Disk.Path)
		a.store.Put(got, false)
		return goOn, nil
	}
	if v, ok := publish.View(got); ok && a.node.Misfit(got) == "" && v.Path == s.in.Disk.Path && (v.Identity == r.Identity || v.Identity == "") {
		old := !a.node.Labelled(got)
		a.store.Put(got, old)
		if old {
			a.old.kick()
		}
		return goOn, nil
	}
	return a.nameTaken(s, r, got)
}

// classFor returns the StorageClass that volumes are published under.
func (a *Agent) classFor(name string) (publish.Class, error) {
	class, ok := a.classes.Get(name)
	if !ok {
		return class, fmt.Errorf("there is no StorageClass %s", name)
	}
	if p := class.Reclaim; p != corev1.PersistentVolumeReclaimDelete && p != corev1.PersistentVolumeReclaimRetain {
		return class, fmt.Errorf("StorageClass %s has the reclaim policy %s; allowed: Delete, Retain", name, p)
	}
	return class, nil
}

// nameTaken handles a PV name that another volume has.
func (a *Agent) nameTaken(s *situation, r volume.Record, other *pvObject) (step, error) {
	long := publish.LongName(r.Entry, a.node.Name, r.Class)
	if local := other.Spec.Local; local != nil && local.Path == s.in.Disk.Path && a.node.Misfit(other) == "" {
		return halt, nil // the last disk at this place; its PV's end kicks this volume
	}
	if r.PV.Name == long {
		return halt, fmt.Errorf("both PV names for %s are taken by others; delete PV %s if it is not needed", s.in.Disk.Path, other.Name)
	}
	r.PV.Name = long
	return goOn, a.keep(r)
}

func (a *Agent) spec(s *situation, r volume.Record, class publish.Class) publish.Spec {
	c, cfg := s.slot.class, a.config()
	return publish.Spec{
		Name: r.PV.Name, Class: c.Name, Path: s.in.Disk.Path, Identity: r.Identity, CapacityBytes: s.in.Disk.CapacityBytes,
		Block: c.VolumeMode == config.Block, AccessMode: string(c.AccessMode), FSType: c.FSType, ReadOnly: c.ReadOnly,
		Reclaim: class.Reclaim, MountOptions: class.MountOptions, NodeLabels: cfg.NodeLabels, Labels: cfg.Labels,
		Selector: selector(c.Selector), Owned: cfg.OwnerReference, NodeNameOnly: cfg.NodeNameOnly, Unheld: a.standIn, For: returningTo(r),
	}
}

func selector(terms []config.SelectorTerm) (out []corev1.NodeSelectorTerm) {
	requirements := func(in []config.Requirement) (out []corev1.NodeSelectorRequirement) {
		for _, r := range in {
			out = append(out, corev1.NodeSelectorRequirement{Key: r.Key, Operator: corev1.NodeSelectorOperator(r.Operator), Values: r.Values})
		}
		return out
	}
	for _, t := range terms {
		out = append(out, corev1.NodeSelectorTerm{MatchExpressions: requirements(t.MatchExpressions), MatchFields: requirements(t.MatchFields)})
	}
	return out
}

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

// withdraw deletes a PV. What follows waits for the watch only where the API
// server has not answered with the PV.
func (a *Agent) withdraw(ctx context.Context, pv volume.PV) (step, error) {
	left, err := limited(ctx, a, func() (*pvObject, error) { return a.cluster.Withdraw(ctx, pv) })
	if err != nil || left == nil {
		return halt, err
	}
	a.store.Put(left, !a.node.Labelled(left))
	return goOn, nil
}

// limited runs a request when fewer than requests others are under way.
func limited[T any](ctx context.Context, a *Agent, request func() (T, error)) (T, error) {
	select {
	case a.requests <- struct{}{}:
		defer func() { <-a.requests }()
		return request()
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func reasonOf(c volume.Cause) string {
	switch c {
	case volume.Gone:
		return api.ReasonDiskGone
	case volume.Copied:
		return api.ReasonCopied
	case volume.Held:
		return api.ReasonQuarantined
	case volume.Unmet:
		return api.ReasonClaimRefused
	}
	return api.ReasonEntryRefused
}
