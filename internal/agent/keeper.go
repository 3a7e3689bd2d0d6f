package agent

import (
	"context"
	"fmt"

	"github.com/berth-storage/berth/internal/csi"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/volume"
	"github.com/berth-storage/berth/internal/wipe"
)

// keeper is what the CSI services need of the agent: volumes with a record of
// each.
type keeper struct{ *Agent }

// named returns the record of a volume that a CSI client may change, and keeps
// others off it until done is called; a zero record for none.
func (k keeper) named(poolName string, id pool.ID) (r volume.Record, done func(), err error) {
	vid := k.carved.hear(string(id))
	done, held := k.carved.hold(vid, true)
	if !held {
		return r, nil, fmt.Errorf("%w: volume %s is being worked on; ask again", pool.ErrBusy, id)
	}
	r, known := k.journal.Get(vid)
	if known && (r.Carved == nil || !r.Carved.Asked || r.Carved.Pool != poolName) {
		done()
		return r, nil, fmt.Errorf("%w: volume %s of pool %s is a claim's; delete the claim, or ask for more in it", csi.ErrHeld, id, poolName)
	}
	return r, done, nil
}

// Create makes a volume that a client names.
func (k keeper) Create(ctx context.Context, poolName string, spec pool.Spec, fsType string) (pool.Volume, error) {
	p, ok := k.carved.pools.Get(poolName)
	if !ok {
		return pool.Volume{}, fmt.Errorf("%w: pool %s", pool.ErrNotFound, poolName)
	}
	r, done, err := k.named(poolName, spec.ID)
	if err != nil {
		return pool.Volume{}, err
	}
	defer done()
	block := spec.Mode == pool.Block
	if at, ok := k.carved.at(carvedID(string(spec.ID))); ok && r.State == volume.Used {
		if at.pool != poolName || r.Carved.Block != block || r.Carved.FSType != fsType || at.volume.Bytes < spec.Bytes {
			return at.volume, fmt.Errorf("%w: it is %s of %d bytes, with the filesystem %q", pool.ErrDiffers, at.volume.Mode, at.volume.Bytes, r.Carved.FSType)
		}
		return at.volume, nil
	}
	if r.State != "" && r.State != volume.Carving {
		return pool.Volume{}, fmt.Errorf("%w: an earlier volume %s is %s", pool.ErrBusy, spec.ID, r.State)
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
	k.carved.put(poolName, v)
	k.roomChanged(ctx, poolName)
	r.State = volume.Used
	k.log.Info("carved", "volume", r.ID, "pool", poolName, "bytes", v.Bytes, "claim", "")
	return v, k.keep(r)
}

// Delete erases a volume at a client's word. One that is being erased is gone on
// with when the client, or the agent's next start, asks again.
func (k keeper) Delete(ctx context.Context, poolName string, id pool.ID) error {
	r, done, err := k.named(poolName, id)
	if err != nil {
		return err
	}
	defer done()
	if r.State == "" {
		if _, there := k.carved.at(carvedID(string(id))); there {
			return fmt.Errorf("%w: the journal does not know volume %s; a person has to decide: berth volume list", csi.ErrHeld, id)
		}
		return nil
	}
	if r.State != volume.Wiping {
		r.State = volume.Wiping
		if err := k.keep(r); err != nil {
			return err
		}
	}
	defer k.volumes.kick(r.ID) // what is left to do of it is the volume's worker's
	s := situation{}
	if !k.gather(r.ID, &s) || s.in.Disk == nil {
		return nil
	}
	result, err := k.eraseCarved(ctx, &s, &r, new(wipe.Progress))
	if err != nil {
		return err
	}
	k.log.Info("wiped and verified", "volume", r.ID, "pool", poolName, "method", result.Method, "bytes", result.Bytes)
	return k.forget(r.ID)
}

// Grow makes a volume larger at a client's word.
func (k keeper) Grow(ctx context.Context, poolName string, id pool.ID, bytes int64) (pool.Volume, error) {
	p, ok := k.carved.pools.Get(poolName)
	if !ok {
		return pool.Volume{}, fmt.Errorf("%w: pool %s", pool.ErrNotFound, poolName)
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
		return "", fmt.Errorf("%w: volume %s is held back: %s; a person has to decide: berth volume show %s", csi.ErrHeld, id, r.Reason, r.ID)
	case r.Carved == nil || r.Carved.Pool != poolName || r.State != volume.Used:
		k.volumes.kick(r.ID)
		return "", fmt.Errorf("%w: volume %s is %s, not %s", csi.ErrHeld, id, r.State, volume.Used)
	}
	return r.Carved.FSType, nil
}
