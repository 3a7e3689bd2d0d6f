package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-storage/berth/internal/csi"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/volume"
	"github.com/berth-storage/berth/internal/wipe"
)

// keeperPatience is how long a CSI client's request waits for the volume's
// worker. Which may be erasing it for hours; then the client asks again.
const keeperPatience = 10 * time.Second

// keeper is what the CSI services need of the agent: volumes with a record of
// each.
type keeper struct{ *Agent }

// named returns the record of a volume that a CSI client may change, and keeps
// others off it until done is called; a zero record for none.
func (k keeper) named(ctx context.Context, poolName string, id pool.ID) (r volume.Record, done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, keeperPatience)
	defer cancel()
	vid := carvedID(string(id))
	if done, err = k.carved.hold(ctx, vid); err != nil {
		return r, nil, fmt.Errorf("%w: volume %s", csi.ErrPending, id)
	}
	at, there := k.carved.at(vid)
	r, known := k.journal.Get(vid)
	_, owed := k.owed.Load(vid)
	switch {
	case owed || !k.carved.knows(poolName): // what is known of it may not be all
		k.volumes.kick(vid)
		err = fmt.Errorf("%w: volume %s of pool %s", csi.ErrPending, id, poolName)
	case known && (r.Carved == nil || !r.Carved.Asked):
		err = fmt.Errorf("%w: volume %s of pool %s is a claim's; delete the claim, or ask for more in it", csi.ErrHeld, id, poolName)
	case known && r.Carved.Pool != poolName:
		err = fmt.Errorf("%w: volume %s is in pool %s, not in %s", csi.ErrHeld, id, r.Carved.Pool, poolName)
	case known && r.State == volume.Quarantined:
		err = quarantined(r)
	case !known && there:
		err = fmt.Errorf("%w: volume %s is in pool %s, and the journal does not know it; a person has to decide: berth volume list", csi.ErrHeld, id, at.pool)
	}
	if err != nil {
		done()
		return r, nil, err
	}
	return r, done, nil
}

func quarantined(r volume.Record) error {
	return fmt.Errorf("%w: volume %s is quarantined: %s; a person has to decide: berth volume show %s", csi.ErrHeld, r.Entry, r.Reason, r.ID)
}

// Create makes a volume that a client names.
func (k keeper) Create(ctx context.Context, poolName string, spec pool.Spec, fsType string) (pool.Volume, error) {
	p, ok := k.carved.pools.Get(poolName)
	if !ok {
		return pool.Volume{}, fmt.Errorf("%w: pool %s", pool.ErrNotFound, poolName)
	}
	r, done, err := k.named(ctx, poolName, spec.ID)
	if err != nil {
		return pool.Volume{}, err
	}
	defer done()
	block := spec.Mode == pool.Block
	switch r.State {
	case "", volume.Carving: // of a request that was not finished, which nobody has had
	case volume.Used:
		at, there := k.carved.at(r.ID)
		if !there {
			return pool.Volume{}, fmt.Errorf("%w: volume %s is not in pool %s any more; delete it, or bring it back", csi.ErrHeld, spec.ID, poolName)
		}
		if r.Carved.Block != block || r.Carved.FSType != fsType || at.volume.Bytes < spec.Bytes {
			return at.volume, fmt.Errorf("%w: it is %s of %d bytes, with the filesystem %q", pool.ErrDiffers, at.volume.Mode, at.volume.Bytes, r.Carved.FSType)
		}
		return at.volume, nil
	default:
		k.volumes.kick(r.ID)
		return pool.Volume{}, fmt.Errorf("%w: an earlier volume %s is %s", csi.ErrPending, spec.ID, r.State)
	}
	name := string(spec.ID)
	r = volume.Record{ID: carvedID(name), Identity: volume.CarvedIdentity(name), Entry: name, State: volume.Carving,
		Carved: &volume.Carved{Pool: poolName, Bytes: spec.Bytes, Block: block, FSType: fsType, Asked: true}}
	if err := k.keep(r); err != nil {
		return pool.Volume{}, err
	}
	v, err := k.make(ctx, p, r)
	if err != nil {
		k.volumes.kick(r.ID) // to undo what there is of it
		return v, err
	}
	k.roomChanged(ctx, poolName)
	r.State = volume.Used
	k.log.Info("carved", "volume", r.ID, "pool", poolName, "bytes", v.Bytes, "claim", "")
	return v, k.keep(r)
}

// Delete erases a volume at a client's word. One that is not erased when this
// ends is the worker's to go on with, also of the agent's next start.
func (k keeper) Delete(ctx context.Context, poolName string, id pool.ID) error {
	r, done, err := k.named(ctx, poolName, id)
	if err != nil {
		return err
	}
	defer done()
	if r.State == "" {
		return nil
	}
	if r.State != volume.Wiping && r.State != volume.Wiped {
		r.State = volume.Wiping
		if err := k.keep(r); err != nil {
			return err
		}
	}
	if err := k.erased(ctx, r); err != nil {
		k.volumes.kick(r.ID)
		return err
	}
	return k.forget(r.ID)
}

// erased erases a volume, if it is there.
func (k keeper) erased(ctx context.Context, r volume.Record) error {
	s := situation{}
	if !k.gather(r.ID, &s) || s.in.Disk == nil {
		return nil // its pool is known, and does not have it
	}
	result, err := k.eraseCarved(ctx, &s, &r, new(wipe.Progress))
	if err == nil {
		k.log.Info("wiped and verified", "volume", r.ID, "pool", r.Carved.Pool, "method", result.Method, "bytes", result.Bytes)
	}
	return err
}

// Grow makes a volume larger at a client's word. A claim's grows by the claim,
// so that for it this finds the growth done.
func (k keeper) Grow(ctx context.Context, poolName string, id pool.ID, bytes int64) (pool.Volume, error) {
	p, ok := k.carved.pools.Get(poolName)
	if !ok {
		return pool.Volume{}, fmt.Errorf("%w: pool %s", pool.ErrNotFound, poolName)
	}
	if at, there := k.carved.at(carvedID(string(id))); there && at.pool == poolName && at.volume.Bytes >= bytes {
		return at.volume, nil
	}
	r, done, err := k.named(ctx, poolName, id)
	if err != nil {
		return pool.Volume{}, err
	}
	defer done()
	if r.State == "" {
		return pool.Volume{}, fmt.Errorf("%w: %s", pool.ErrNotFound, id)
	}
	if r.State != volume.Used {
		return pool.Volume{}, fmt.Errorf("%w: volume %s is %s, not %s", csi.ErrHeld, id, r.State, volume.Used)
	}
	v, err := p.Grow(ctx, id, bytes)
	if err == nil {
		k.carved.put(poolName, v)
		k.roomChanged(ctx, poolName)
	}
	return v, err
}

// Use lets pods have a volume. What the journal does not say to be in use is not
// handed out.
func (k keeper) Use(_ context.Context, poolName string, id pool.ID) (fsType string, err error) {
	r, known := k.journal.Get(carvedID(string(id)))
	switch {
	case !known:
		return "", fmt.Errorf("%w: the journal does not know volume %s of pool %s", pool.ErrNotFound, id, poolName)
	case r.State == volume.Quarantined:
		return "", quarantined(r)
	case r.Carved == nil || r.Carved.Pool != poolName:
		return "", fmt.Errorf("%w: the journal does not say that volume %s is in pool %s", csi.ErrHeld, id, poolName)
	case r.State != volume.Used:
		k.volumes.kick(r.ID)
		return "", fmt.Errorf("%w: volume %s is %s, not %s", csi.ErrHeld, id, r.State, volume.Used)
	}
	return r.Carved.FSType, nil
}
