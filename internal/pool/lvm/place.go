package lvm

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// known is a volume as the pool has seen it, or as it sees it now.
func (p *Pool) known(ctx context.Context, id pool.ID) (volume, error) {
	if err := id.Check(); err != nil {
		return volume{}, err
	}
	p.seenMu.Lock()
	v, there := p.seen[id]
	p.seenMu.Unlock()
	if there {
		return v, nil
	}
	s, err := p.look(ctx, false)
	if err != nil {
		return volume{}, err
	}
	if v, there = s.find(id); !there {
		return volume{}, fmt.Errorf("%w: %s", pool.ErrNotFound, id)
	}
	return v, nil
}

// Open is pool.Pool's. The place is good as long as the volume is open; the next
// time it may be another one.
func (p *Pool) Open(ctx context.Context, id pool.ID) (pool.Place, error) {
	defer p.turn(id)()
	d, err := p.device(ctx, id)
	if errors.Is(err, host.ErrNoVolume) { // it is not what was seen
		p.forget(id)
		d, err = p.device(ctx, id)
	}
	if err != nil {
		return pool.Place{}, fmt.Errorf("opening %s: %w", id, err)
	}
	return pool.Place{Device: path(d)}, nil
}

func (p *Pool) device(ctx context.Context, id pool.ID) (disk.Mapped, error) {
	v, err := p.known(ctx, id)
	if err != nil {
		return disk.Mapped{}, err
	}
	d, err := p.hands.Device(p.vgUUID, v.which())
	if errors.Is(err, host.ErrNoVolume) {
		if err = p.hands.Activate(ctx, v.which()); err == nil {
			d, err = p.hands.Device(p.vgUUID, v.which())
		}
	}
	return d, err
}

// Close is pool.Pool's.
func (p *Pool) Close(ctx context.Context, id pool.ID) error {
	defer p.turn(id)()
	v, err := p.known(ctx, id)
	if errors.Is(err, pool.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = p.close(ctx, v)
	}
	if err != nil {
		return fmt.Errorf("closing %s: %w", id, err)
	}
	return nil
}

func (p *Pool) close(ctx context.Context, v volume) error {
	if _, err := p.hands.Device(p.vgUUID, v.which()); errors.Is(err, host.ErrNoVolume) {
		return nil
	}
	if err := p.unused(v); err != nil {
		return err
	}
	return meant(p.hands.Deactivate(ctx, v.which()))
}
