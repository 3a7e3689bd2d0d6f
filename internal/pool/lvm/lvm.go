// Package lvm is the pool whose volumes are logical volumes of an LVM volume
// group: thick ones, or thin ones of a thin pool.
//
// The pool may share its volume group with its people. Berth's volumes have a
// tag; a logical volume without it is never opened, changed or removed, and its
// space is not the pool's. All state is LVM's, in the volumes' names and tags:
//
//	berth.storage             it is one of Berth's
//	berth.storage/mode=Block  what was promised; the size is the volume's own
//	berth.storage/note=…      the caller's note, in base64
//	berth.storage/new         it is being made, and nobody has seen it
//	berth.storage/gone        it is being removed, and may be half erased
//
// Thick volumes get extents that other volumes had, of other pools and of people
// too, so they are erased when they are made and when they grow: one of mode
// Block as a whole, since all of it can be read; of one of mode Filesystem, what
// a filesystem would be found by, as the new filesystem shows nothing else of
// it. What a tenant wrote the pool's caller erases before Remove.
//
// One process has a pool at a time. LVM's tools take LVM's own locks, which must
// be the machine's (/run/lock/lvm), not those of a container.
package lvm

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// The tags.
const (
	ours    = "berth.storage"
	making  = ours + "/new"
	leaving = ours + "/gone"
	modeIs  = ours + "/mode="
	noteIs  = ours + "/note="
)

// growing is before the name of a volume that holds the extents that another
// one is to grow by. No volume has a "_" in its ID.
const growing = "grow_"

// Options are what a pool is made of.
type Options struct {
	VolumeGroup string
	Stripes     int   //  over how many physical volumes each thick volume lies; 0 and 1 are none
	Thin        *Thin //  nil for thick volumes
	Reserve     pool.Reserve
}

// Thin says that volumes are made in a thin pool of the volume group.
type Thin struct {
	Pool string // its name; it is there already
	// Overprovision is how many times its size may be promised, 1 at least; 0 is
	// 1. Over 1, all volumes fail when the tenants write more than there is.
	Overprovision float64
	// MetadataLowWater is how much of its metadata must be left, in percent, for
	// a new volume to be made: a pool whose metadata are full fails all volumes.
	MetadataLowWater int
}

// A Pool is a pool.Pool.
type Pool struct {
	o     Options
	hands hands

	mu    sync.Mutex // guards what is promised: looking what is free, and taking it
	turns sync.Map   // pool.ID -> *sync.Mutex, of the call that works on the volume

	vgUUID string // never changes

	seenMu sync.Mutex
	// seen are the volumes as the last look saw them, with what was done since.
	// Who acts by it names the volume to LVM by UUID and tag. Guarded by seenMu.
	seen    map[pool.ID]volume
	changes int // counts those of seen, so that a look that is older than one is not kept; guarded by seenMu
}

// Open opens the pool: it undoes what was being made, finishes what was being
// removed, and mends devices that a crash left in the middle of a change. What
// cannot be a pool is pool.ErrUnfit.
func Open(ctx context.Context, o Options) (*Pool, error) {
	if o.VolumeGroup == "" || o.Stripes < 0 ||
		o.Thin != nil && (o.Thin.Pool == "" || o.Stripes > 1 || o.Thin.MetadataLowWater < 0 || o.Thin.MetadataLowWater >= 100 || o.Thin.Overprovision != 0 && o.Thin.Overprovision < 1) {
		return nil, fmt.Errorf("opening an LVM pool: %w: the options are %+v, %+v", pool.ErrInvalid, o, o.Thin)
	}
	g, err := host.OpenVolumeGroup(o.VolumeGroup)
	if err != nil {
		return nil, unfit(o, err)
	}
	return open(ctx, o, machine{g})
}

func open(ctx context.Context, o Options, h hands) (*Pool, error) {
	o.Stripes = max(o.Stripes, 1)
	if o.Thin != nil {
		thin := *o.Thin
		thin.Overprovision = max(thin.Overprovision, 1)
		o.Thin = &thin
	}
	p := &Pool{o: o, hands: h}
	r, err := h.Report(ctx, true)
	if err == nil {
		p.vgUUID = r.UUID
		err = fit(o, r)
	}
	if err == nil && o.Thin != nil {
		err = h.Activate(ctx, host.Which{Name: o.Thin.Pool})
	}
	if err != nil {
		return nil, unfit(o, err)
	}
	if err := p.mend(ctx, r); err != nil {
		return nil, fmt.Errorf("opening the pool in volume group %q: %w", o.VolumeGroup, err)
	}
	return p, nil
}

// fit is an error unless volumes can be made in the volume group.
func fit(o Options, r host.VolumeGroupReport) error {
	switch {
	case r.Exported:
		return errors.New("it is exported; import it (vgimport)")
	case r.Shared:
		return errors.New("it is shared with other machines; use one of this machine alone")
	case r.Missing > 0:
		return host.ErrPartial
	case o.Stripes > len(disks(r)):
		return fmt.Errorf("%d stripes need as many physical volumes, and it has %d that can be used; add disks (vgextend), or ask for fewer stripes", o.Stripes, len(disks(r)))
	case o.Thin == nil:
		return nil
	}
	for _, lv := range r.Logical {
		switch {
		case lv.Name != o.Thin.Pool:
			continue
		case lv.ThinPool == nil:
			return fmt.Errorf("its logical volume %q is not a thin pool; name one", lv.Name)
		case !lv.ThinPool.Zeroes:
			return fmt.Errorf("the thin pool %q does not zero what it gives to a volume, so a tenant would see another's bytes; turn that on (lvchange --zero y)", lv.Name)
		}
		return nil
	}
	return fmt.Errorf("it has no thin pool %q; make it (lvcreate --type thin-pool), or leave `thin` out", o.Thin.Pool)
}

// unfit is pool.ErrUnfit with what to do, for an error that says that there can
// be no pool.
func unfit(o Options, err error) error {
	hint := ""
	for _, known := range []struct {
		err  error
		hint string
	}{
		{host.ErrNoLVM, "; install the package lvm2"},
		{host.ErrNoMapper, "; load the module dm_mod, and let the agent use /dev/mapper/control"},
		{host.ErrNoVolumeGroup, "; make it (vgcreate), or correct its name"},
		{host.ErrNoThin, "; load the module dm_thin_pool, or leave `thin` out"},
		{host.ErrPartial, "; bring the disk back, or give up what was on it (vgreduce --removemissing)"},
	} {
		if errors.Is(err, known.err) {
			hint = known.hint
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("opening the pool in volume group %q: %w", o.VolumeGroup, err)
	}
	return fmt.Errorf("the volume group %q %w of kind lvm: %w%s", o.VolumeGroup, pool.ErrUnfit, err, hint)
}

// Features is pool.Pool's.
func (p *Pool) Features() pool.Features {
	return pool.Features{Enforced: true, Device: true, Raw: p.o.Thin == nil}
}

// mend does what a crash left undone.
func (p *Pool) mend(ctx context.Context, r host.VolumeGroupReport) (err error) {
	var s state
	if s, p.seen, err = p.sort(r); err != nil {
		return err
	}
	for _, v := range s.rest {
		if err := p.clear(ctx, v); err != nil {
			return err
		}
	}
	for _, v := range s.volumes {
		if err := p.settle(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// settle makes an active volume's device what the volume is: a process that was
// killed while it grew may have left it suspended, or at its old size.
func (p *Pool) settle(ctx context.Context, v volume) error {
	d, err := p.hands.Device(p.vgUUID, v.which())
	if errors.Is(err, host.ErrNoVolume) {
		return nil
	}
	if err != nil {
		return err
	}
	if d.SizeBytes == v.Bytes && !d.Suspended {
		return nil
	}
	return p.hands.Refresh(ctx, v.which())
}
