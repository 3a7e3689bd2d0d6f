package lvm

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// Grow is pool.Pool's.
func (p *Pool) Grow(ctx context.Context, id pool.ID, bytes int64) (pool.Volume, error) {
	if err := id.Check(); err != nil {
		return pool.Volume{}, err
	}
	defer p.turn(id)()
	v, err := p.grow(ctx, id, bytes)
	if err == nil {
		err = p.settle(ctx, v)
	}
	if err != nil && !errors.Is(err, pool.ErrNotFound) {
		err = fmt.Errorf("growing %s: %w", id, err)
	}
	return v.Volume, err
}

func (p *Pool) grow(ctx context.Context, id pool.ID, bytes int64) (volume, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.look(ctx, false)
	if err == nil {
		s, err = p.tidy(ctx, s, id)
	}
	if err != nil {
		return volume{}, err
	}
	v, there := s.find(id)
	if !there {
		return volume{}, fmt.Errorf("%w: %s", pool.ErrNotFound, id)
	}
	if bytes <= v.Bytes {
		return v, nil
	}
	more, err := roundUp(bytes-v.Bytes, p.unit(s.report))
	if err == nil {
		err = p.fits(s.report, more)
	}
	if err != nil {
		return v, err
	}
	larger := v
	larger.Bytes += more
	switch {
	case p.o.Thin != nil:
		err = p.hands.Extend(ctx, v.name, larger.Bytes, 0, nil)
	case v.Mode == pool.Filesystem:
		err = p.hands.Extend(ctx, v.name, larger.Bytes, p.o.Stripes, p.roomiest(s.report).on)
	default:
		err = p.growZeroed(ctx, s.report, larger, more)
	}
	if err != nil {
		return v, meant(err)
	}
	return larger, nil
}

// growZeroed makes a volume larger by extents that read as zero, since they are
// seen as soon as they are the volume's. Until they are zero they are a volume
// of their own; mu is not held while they become that.
func (p *Pool) growZeroed(ctx context.Context, r host.VolumeGroupReport, larger volume, more int64) (err error) {
	helper := volume{Volume: pool.Volume{ID: larger.ID, Bytes: more, Mode: pool.Block}, name: growing + string(larger.ID), tag: making}
	if err := p.create(ctx, r, helper); err != nil {
		return err
	}
	p.mu.Unlock()
	err = p.erase(ctx, helper)
	p.mu.Lock()
	var on []string
	if err == nil {
		on, err = p.ranges(ctx, helper)
	}
	if err == nil || ctx.Err() == nil {
		err = errors.Join(err, p.hands.Remove(ctx, helper.which()))
	}
	if err != nil {
		return err
	}
	return p.hands.Extend(ctx, larger.name, larger.Bytes, p.o.Stripes, on)
}

// ranges are where a volume's extents are.
func (p *Pool) ranges(ctx context.Context, v volume) ([]string, error) {
	s, err := p.look(ctx, false)
	if err != nil {
		return nil, err
	}
	for _, lv := range s.report.Logical {
		if lv.Name == v.name && len(lv.Ranges) > 0 {
			return lv.Ranges, nil
		}
	}
	return nil, fmt.Errorf("the logical volume %s/%s is gone", p.o.VolumeGroup, v.name)
}
