package agent

import (
	"context"
	"fmt"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
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
