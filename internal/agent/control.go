package agent

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berth-storage/berth/internal/control"
	"github.com/berth-storage/berth/internal/volume"
)

// serveCommands answers a person on the node until ctx ends. An agent that
// cannot still looks after its volumes.
func (a *Agent) serveCommands(ctx context.Context, stateDir string) {
	l, err := control.Listen(stateDir)
	if err != nil {
		a.log.Error("commands are not answered", "err", err)
		return
	}
	a.running.Go(func() {
		if err := control.Serve(ctx, l, desk{a}); err != nil {
			a.log.Error("commands are not answered any more", "err", err)
		}
	})
}

// desk is where a person is answered.
type desk struct{ *Agent }

// Volumes implements control.Agent.
func (d desk) Volumes() []control.Volume {
	out := []control.Volume{}
	for _, r := range d.journal.All() {
		if !unknown(r.Identity) || r.State == volume.Used { // else it only stood for a disk until that came
			out = append(out, d.view(r))
		}
	}
	slices.SortFunc(out, func(a, b control.Volume) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Entry, b.Entry), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Volume implements control.Agent.
func (d desk) Volume(id string) (control.Volume, error) {
	r, ok := d.journal.Get(volume.ID(id))
	if !ok {
		return control.Volume{}, fmt.Errorf("%w: the journal of this node knows no volume %q; the whole id is needed, as berth volume list shows it", control.ErrUnknown, id)
	}
	return d.view(r), nil
}

// Ask implements control.Agent.
func (d desk) Ask(ctx context.Context, id string, q control.Request) (control.Volume, error) {
	about, err := d.Volume(id)
	if err != nil {
		return about, err
	}
	if about.State != string(volume.Quarantined) {
		return about, fmt.Errorf("%w: volume %s is %s, not %s; only a volume that is held back is decided over", control.ErrRefused, id, about.State, volume.Quarantined)
	}
	cmd := volume.Command{Word: volume.Word(q.Command), At: time.Now().UTC().Format(time.RFC3339Nano)}
	if q.Claim != "" {
		if cmd.Claim, err = volume.ParseClaim(q.Claim); err != nil {
			return about, fmt.Errorf("%w: %w", control.ErrRefused, err)
		}
	}
	if !d.store.Synced() || !d.discovered.Load() || d.config() == nil {
		return about, fmt.Errorf("%w: it has not yet read the node's PVs and disks since its start; try again", control.ErrNotReady)
	}
	if q.Dry {
		s, r, err := d.weigh(ctx, volume.ID(id), cmd)
		if err != nil {
			return about, fmt.Errorf("volume %s: %w", id, err)
		}
		about = d.view(*r)
		about.Asked, about.AskedAt = "", "" // nobody has, yet
		about.Identity, about.Path = string(s.in.Disk.Identity), s.in.Disk.Path
		return about, nil
	}
	if err := d.command(ctx, volume.ID(id), &command{Command: cmd, identity: q.Identity, path: q.Path}); err != nil {
		return about, fmt.Errorf("volume %s: %w", id, err)
	}
	if r, ok := d.journal.Get(volume.ID(id)); ok {
		about = d.view(r)
	} // else it is of a pool, erased, and forgotten already
	return about, nil
}

// view is what a person is told of a volume.
func (d desk) view(r volume.Record) control.Volume {
	v := control.Volume{ID: string(r.ID), State: string(r.State), Class: r.Class, Entry: r.Entry, Identity: string(r.Identity),
		Reason: r.Reason, Asked: string(r.Asked), AskedAt: r.AskedAt}
	if r.Claim != nil {
		v.Claim = r.Claim.String()
	}
	found, _ := d.slots.find(r.ID, key{r.Class, r.Entry})
	at := found.disk
	if r.Carved != nil {
		v.Pool = r.Carved.Pool
	}
	if carved, of := d.inPoolNow(r); carved != nil {
		at, v.Pool = carved, of.Pool
	}
	if at != nil {
		v.Path, v.Identity, v.Bytes = at.Path, string(at.Identity), at.CapacityBytes
		v.Class, v.Entry = cmp.Or(v.Class, at.Class), cmp.Or(v.Entry, at.Entry)
	}
	if pvs, _, _ := d.store.Get(r.ID); len(pvs) > 0 {
		v.PV, v.PVPhase = pvs[0].Name, phaseOf(pvs[0])
	}
	return v
}

func phaseOf(pv volume.PV) string {
	switch {
	case pv.Deleting:
		return "Terminating"
	case pv.Free():
		return "Available"
	case pv.Released:
		return "Released"
	}
	return "Bound"
}
