package lvm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/wipe"
)

// turn waits for the calls that work on a volume, and keeps others off it. There
// are as many locks as there were volumes since the start.
func (p *Pool) turn(id pool.ID) (done func()) {
	t, _ := p.turns.LoadOrStore(id, &sync.Mutex{})
	t.(*sync.Mutex).Lock()
	return t.(*sync.Mutex).Unlock
}

// deviceName is the longest name that the device mapper takes: DM_NAME_LEN of
// Linux include/uapi/linux/dm-ioctl.h, less the 0 at its end.
const deviceName = 127

// checkName refuses what LVM would not take for a name.
func (p *Pool) checkName(id pool.ID) error {
	for _, reserved := range []string{"snapshot", "pvmove"} { // apply_lvname_restrictions in LVM's lib/misc/lvm-string.c
		if strings.HasPrefix(string(id), reserved) {
			return fmt.Errorf("%w: the volume ID %q begins with %q, which LVM keeps for itself", pool.ErrInvalid, id, reserved)
		}
	}
	if n := len(p.hands.DeviceName(growing + string(id))); n > deviceName {
		return fmt.Errorf("%w: with the volume ID %q the device's name would have %d bytes; allowed: %d", pool.ErrInvalid, id, n, deviceName)
	}
	return nil
}

// Carve is pool.Pool's. The volume has the tag that says that it is being made
// until it is erased.
func (p *Pool) Carve(ctx context.Context, want pool.Spec) (pool.Volume, error) {
	if err := pool.CheckSpec(want); err != nil {
		return pool.Volume{}, err
	}
	if err := p.checkName(want.ID); err != nil {
		return pool.Volume{}, err
	}
	defer p.turn(want.ID)()
	v, there, err := p.take(ctx, want)
	if err != nil || there {
		return v.Volume, err
	}
	err = p.erase(ctx, v)
	if err == nil && v.tag == making {
		err = p.hands.DelTag(ctx, v.which(), making)
	}
	if err != nil {
		if ctx.Err() == nil && v.tag == making {
			err = errors.Join(err, p.hands.Remove(ctx, v.which()))
		}
		return pool.Volume{}, fmt.Errorf("carving %s: %w", v.ID, err)
	}
	v.tag = ours
	p.remember(v)
	return v.Volume, nil
}

// take makes a volume that has not been erased yet, or finds the one that is
// there.
func (p *Pool) take(ctx context.Context, want pool.Spec) (v volume, there bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.look(ctx, true)
	if err == nil {
		s, err = p.tidy(ctx, s, want.ID)
	}
	if err != nil {
		return v, false, err
	}
	v = volume{Volume: pool.Volume(want), name: string(want.ID), tag: making}
	if v.Bytes, err = roundUp(want.Bytes, p.unit(s.report)); err != nil {
		return v, false, err
	}
	have, there := s.find(v.ID)
	switch {
	case there && have.Bytes == v.Bytes && have.Mode == v.Mode:
		return have, true, nil
	case there:
		return volume{}, false, fmt.Errorf("%w: %s is %s of %d bytes, and %s of %d bytes was asked for", pool.ErrDiffers, v.ID, have.Mode, have.Bytes, v.Mode, v.Bytes)
	case s.taken[v.name]:
		return volume{}, false, fmt.Errorf("%w: the logical volume %s/%s is not this pool's", pool.ErrDiffers, p.o.VolumeGroup, v.name)
	}
	if err := errors.Join(p.fits(s.report, v.Bytes), p.metadata(s.report)); err != nil {
		return volume{}, false, err
	}
	if p.o.Thin != nil {
		v.tag = ours // it is whole as soon as it is there
	}
	err = p.create(ctx, s.report, v)
	if err != nil {
		err = fmt.Errorf("carving %s: %w", v.ID, err)
	}
	return v, false, err
}

func (p *Pool) create(ctx context.Context, r host.VolumeGroupReport, v volume) error {
	n := host.NewVolume{Name: v.name, Bytes: v.Bytes, Tags: tags(v), Stripes: p.o.Stripes, On: p.roomiest(r).on}
	if p.o.Thin != nil {
		n.Thin = p.o.Thin.Pool
	}
	return meant(p.hands.Create(ctx, n))
}

// fits is pool.ErrNoRoom unless that many bytes can be had at once.
func (p *Pool) fits(r host.VolumeGroupReport, bytes int64) error {
	room := p.room(r)
	if bytes > room.Largest {
		return fmt.Errorf("%w: %d bytes were asked for, %d are free, and the largest volume is of %d", pool.ErrNoRoom, bytes, room.Free, room.Largest)
	}
	return nil
}

// meant says in the words of package pool what LVM has said.
func meant(err error) error {
	for _, e := range [][2]error{{host.ErrNoExtents, pool.ErrNoRoom}, {host.ErrExists, pool.ErrDiffers}, {host.ErrBusy, pool.ErrBusy}} {
		if errors.Is(err, e[0]) {
			return fmt.Errorf("%w: %w", e[1], err)
		}
	}
	return err
}

// erase makes of new extents what they are to read as.
func (p *Pool) erase(ctx context.Context, v volume) error {
	if p.o.Thin != nil {
		return nil
	}
	d, err := p.hands.Device(p.vgUUID, v.which())
	if err != nil {
		return err
	}
	method := wipe.MethodSignatures
	if v.Mode == pool.Block {
		method = wipe.MethodDiscard
	}
	return p.hands.Erase(ctx, d, method)
}

// tidy clears what is left of earlier calls for a volume.
func (p *Pool) tidy(ctx context.Context, s state, id pool.ID) (state, error) {
	mine := slices.DeleteFunc(slices.Clone(s.rest), func(v volume) bool { return v.ID != id })
	if len(mine) == 0 {
		return s, nil
	}
	for _, v := range mine {
		if err := p.clear(ctx, v); err != nil {
			return s, err
		}
	}
	return p.look(ctx, true)
}

// clear removes what is not a volume yet, or any more. Of a thick one the bytes
// were never a tenant's, or are erased; a thin one's are given up to the disk.
func (p *Pool) clear(ctx context.Context, v volume) error {
	if v.tag == leaving {
		if err := p.hands.Activate(ctx, v.which()); err != nil {
			return err
		}
		d, err := p.hands.Device(p.vgUUID, v.which())
		if err != nil {
			return err
		}
		// Nothing rests on it: the thin pool zeroes what it gives away.
		if err := p.hands.Trim(ctx, d); err != nil && ctx.Err() != nil {
			return err
		}
	}
	return meant(p.hands.Remove(ctx, v.which()))
}

// Remove is pool.Pool's. A thick volume is gone at once; a thin one is, in
// everybody's eyes, before what it held is given up.
func (p *Pool) Remove(ctx context.Context, id pool.ID) error {
	if err := id.Check(); err != nil {
		return err
	}
	defer p.turn(id)()
	if err := p.remove(ctx, id); err != nil {
		return fmt.Errorf("removing %s: %w", id, err)
	}
	return nil
}

func (p *Pool) remove(ctx context.Context, id pool.ID) error {
	v, err := p.known(ctx, id)
	if errors.Is(err, pool.ErrNotFound) {
		return p.tidyUp(ctx, id)
	}
	if err == nil {
		err = p.unused(v)
	}
	if err != nil {
		return err
	}
	p.forget(id) // what fails from here on, the next call looks at anew
	defer p.forget(id)
	if p.o.Thin == nil {
		return meant(p.hands.Remove(ctx, v.which()))
	}
	if err := p.hands.AddTag(ctx, v.which(), leaving); err != nil {
		return err
	}
	v.tag = leaving
	return p.clear(ctx, v)
}

// tidyUp clears what is left of a volume that is not there.
func (p *Pool) tidyUp(ctx context.Context, id pool.ID) error {
	s, err := p.look(ctx, true)
	if err == nil {
		_, err = p.tidy(ctx, s, id)
	}
	return err
}

// unused is pool.ErrBusy while something uses a volume's device.
func (p *Pool) unused(v volume) error {
	d, err := p.hands.Device(p.vgUUID, v.which())
	if errors.Is(err, host.ErrNoVolume) {
		return nil
	}
	if err == nil {
		err = p.hands.CheckUnused(d)
	}
	return meant(err)
}
