package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
	"github.com/berth-storage/berth/internal/wipe"
)

// actCarved does what was decided of a volume of a pool and is never decided of
// a found one.
func (a *Agent) actCarved(ctx context.Context, id volume.ID, s *situation, d volume.Decision) (step, error) {
	switch d.Verb {
	case volume.Carve:
		return a.carve(ctx, id, s, *d.Record)
	case volume.Uncarve:
		p, ok := a.carved.pools.Get(d.Record.Carved.Pool)
		if !ok {
			return halt, errPoolAway(d.Record.Carved.Pool)
		}
		if err := a.remove(ctx, p, *d.Record); err != nil {
			return halt, fmt.Errorf("%w: %w", errDisk, err)
		}
		a.log.Info("undone: the claim does not want it here any more", "volume", id, "pool", d.Record.Carved.Pool)
		return goOn, nil
	case volume.GiveBack:
		return halt, a.giveBack(ctx, id, s, api.ReasonNoRoom, d.Message)
	case volume.Grow:
		return halt, a.grow(ctx, id, s, *d.Record)
	case volume.Forget:
		return halt, a.forget(id)
	}
	return halt, fmt.Errorf("no such verb: %s", d.Verb)
}

func errPoolAway(name string) error { return fmt.Errorf("pool %s is not open", name) }

// carve makes a volume for a claim, and offers it. One that does not fit is
// given back to the scheduler.
func (a *Agent) carve(ctx context.Context, id volume.ID, s *situation, r volume.Record) (step, error) {
	name := r.Carved.Pool
	p, ok := a.carved.pools.Get(name)
	if !ok {
		return halt, errPoolAway(name)
	}
	started := time.Now()
	v, err := a.make(ctx, p, r)
	if errors.Is(err, pool.ErrNoRoom) {
		return halt, a.giveBack(ctx, id, s, api.ReasonNoRoom, fmt.Sprintf("pool %s of node %s: %v", name, a.node.Name, err))
	}
	if err != nil {
		return halt, fmt.Errorf("%w: %w", errDisk, err)
	}
	a.roomChanged(ctx, name)
	if limit := s.in.Want.LimitBytes; limit > 0 && v.Bytes > limit {
		if err := a.remove(ctx, p, r); err != nil {
			return halt, fmt.Errorf("%w: %w", errDisk, err)
		}
		a.reportVolume(id, *s, api.ReasonClaimRefused, fmt.Sprintf("the smallest volume that holds %d bytes has %d, and the claim's limit is %d; raise the limit, or ask for less", r.Carved.Bytes, v.Bytes, limit))
		return halt, nil
	}
	a.log.Info("carved", "volume", id, "pool", name, "bytes", v.Bytes, "claim", r.Claim.String(), "seconds", time.Since(started).Seconds())
	return goOn, a.keep(r)
}

// make makes a volume, with its filesystem where it needs one. Made again after
// a crash it is the same: nobody has had it in between.
func (a *Agent) make(ctx context.Context, p pool.Pool, r volume.Record) (pool.Volume, error) {
	spec := pool.Spec{ID: pool.ID(r.Entry), Bytes: r.Carved.Bytes, Mode: pool.Filesystem, Note: noteOf(r)}
	if r.Carved.Block {
		spec.Mode = pool.Block
	}
	if r.Carved.FSType != "" {
		least, err := host.MinFilesystem(r.Carved.FSType)
		if err != nil {
			return pool.Volume{}, err
		}
		spec.Bytes = max(spec.Bytes, least)
	}
	v, err := p.Carve(ctx, spec)
	if err != nil {
		return v, errors.Join(err, a.lookAgain(context.WithoutCancel(ctx), p, r))
	}
	a.carved.put(r.Carved.Pool, v) // also if there is no filesystem on it in the end
	if r.Carved.FSType == "" {
		return v, nil
	}
	at, err := p.Open(ctx, v.ID)
	if err == nil {
		err = a.machine.Format(ctx, at.Device, r.Carved.FSType)
	}
	return v, errors.Join(err, p.Close(ctx, v.ID))
}

// lookAgain takes in a volume that is there although making it failed, so that it
// can be undone.
func (a *Agent) lookAgain(ctx context.Context, p pool.Pool, r volume.Record) error {
	all, err := p.Volumes(ctx)
	for _, v := range all {
		if string(v.ID) == r.Entry {
			a.carved.put(r.Carved.Pool, v)
		}
	}
	return err
}

// remove takes a volume out of its pool.
func (a *Agent) remove(ctx context.Context, p pool.Pool, r volume.Record) error {
	name := pool.ID(r.Entry)
	if err := p.Close(ctx, name); err != nil {
		return err
	}
	if err := p.Remove(ctx, name); err != nil {
		return err
	}
	a.carved.drop(r.ID)
	a.roomChanged(ctx, r.Carved.Pool)
	return nil
}

// giveBack takes back the choice of this node for a claim that it has no volume
// for, once the scheduler can know what room there is, so that it does not choose
// the same again.
func (a *Agent) giveBack(ctx context.Context, id volume.ID, s *situation, reason, message string) error {
	if err := a.tellRoom(ctx); err != nil {
		return err
	}
	w := *s.in.Want
	given, err := limited(ctx, a, func() (bool, error) { return a.cluster.GiveBack(ctx, w) })
	if err != nil || !given { // or the watch brings what has changed
		return err
	}
	a.log.Info("gave a claim back to the scheduler", "volume", id, "claim", w.Claim.String(), "why", message)
	a.queueEvent(aboutClaim(w.Claim), reason, message+"; the scheduler chooses anew")
	return nil
}

func aboutClaim(c volume.Claim) []corev1.ObjectReference {
	return []corev1.ObjectReference{{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: c.Namespace, Name: c.Name, UID: types.UID(c.UID)}}
}

// publishCarved creates the PV of a carved volume, for the claim that it is of.
func (a *Agent) publishCarved(ctx context.Context, s *situation, r volume.Record) (step, error) {
	class, err := a.classFor(r.Class)
	if err != nil {
		return halt, err
	}
	cfg := a.config()
	modes := r.Carved.Modes
	if len(modes) == 0 { // of a volume that was found without its record
		modes = carvedModes[:1]
	}
	pv := publish.CarvedVolume(publish.CarvedSpec{
		Name: r.PV.Name, Class: r.Class, Handle: s.in.Disk.Path, Identity: r.Identity, CapacityBytes: s.in.Disk.CapacityBytes,
		Block: r.Carved.Block, AccessModes: modes, FSType: r.Carved.FSType, Reclaim: class.Reclaim, MountOptions: class.MountOptions,
		Claim: *r.Claim, Attributes: map[string]string{api.Driver + "/pool": r.Carved.Pool}, NodeLabels: cfg.NodeLabels, Labels: cfg.Labels, Owned: cfg.OwnerReference,
	}, a.node)
	started := time.Now()
	var created bool
	got, err := limited(ctx, a, func() (got *pvObject, err error) {
		got, created, err = a.cluster.Create(ctx, pv)
		return got, err
	})
	if err != nil {
		return halt, err
	}
	v, ok := publish.View(got)
	if !ok || v.Identity != r.Identity || a.node.Misfit(got) != "" {
		return halt, fmt.Errorf("there is a PV %s already, and it is not this volume's; delete it if nobody needs it", got.Name)
	}
	a.store.Put(got, false)
	if created {
		a.metrics.publishes.WithLabelValues(r.Class).Inc()
		a.metrics.publishTime.Observe(time.Since(started).Seconds())
		a.log.Info("published", "pv", got.Name, "volume", r.ID, "pool", r.Carved.Pool, "claim", r.Claim.String())
	}
	return goOn, nil
}

// methodRemove is the wipeResult.Method of a volume whose bytes nobody can read
// once its pool has removed it.
const methodRemove = "remove"

// eraseCarved erases a released volume, and gives its space back.
func (a *Agent) eraseCarved(ctx context.Context, s *situation, r *volume.Record, progress *wipe.Progress) (wipeResult, error) {
	p, ok := a.carved.pools.Get(r.Carved.Pool)
	if !ok {
		return wipeResult{}, errPoolAway(r.Carved.Pool)
	}
	name := pool.ID(r.Entry)
	result := wipeResult{Method: methodRemove}
	at, err := p.Open(ctx, name)
	if errors.Is(err, pool.ErrNotFound) { // an earlier try took its name away, and not all of it
		return result, a.remove(ctx, p, *r)
	}
	if err != nil {
		return result, err
	}
	mounts, err := a.machine.Mounts(cmp.Or(at.Dir, at.Device))
	if err != nil {
		return result, err
	}
	if len(mounts) > 0 { // also of a device's node, as pods get it
		return result, fmt.Errorf("%w: it is still mounted at %s", pool.ErrBusy, strings.Join(mounts, ", "))
	}
	if p.Features().Raw {
		cfg, _ := a.carved.pools.Config(r.Carved.Pool)
		of := fmt.Sprintf("%s, %d passes, %d bytes", cfg.Wipe.Method, cfg.Wipe.Passes, s.in.Disk.CapacityBytes)
		if r.OffsetOf != of {
			r.Offset, r.OffsetOf = 0, of
		}
		result, err = a.machine.WipePiece(ctx, cfg.Wipe, at.Device, wipeJob{Identity: r.Identity, Offset: r.Offset, Progress: progress,
			Entry: entry{SizeBytes: s.in.Disk.CapacityBytes},
			Reached: func(offset int64) error {
				r.Offset = offset
				return a.keep(*r)
			}})
		if err != nil {
			return result, err
		}
	}
	return result, a.remove(ctx, p, *r)
}

// forget ends a volume that is no more.
func (a *Agent) forget(id volume.ID) error {
	r, ok := a.journal.Get(id)
	if !ok {
		return nil
	}
	if err := a.journal.Remove(id); err != nil {
		return fmt.Errorf("%w: %w", errJournal, err)
	}
	a.byPV.Delete(r.PV.UID)
	a.metrics.forget(r)
	a.reports.clear(volumeSubject(id))
	a.states.forget(id)
	a.carved.forget(id)
	a.log.Debug("journal", "volume", id, "state", "forgotten", "pv", r.PV.Name)
	return nil
}
