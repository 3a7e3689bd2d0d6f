package lvm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/wipe"
)

var errDead = errors.New("the process is dead")

// extent is the size of the fake's extents, in bytes.
const extent = 4 << 20

// fake is a volume group of extents that are full of other people's bytes, and
// the process that uses it: one that dies at a step, before it or after it, and
// does nothing from then on, or that fails at a step only.
type fake struct {
	*vg
	steps int // taken so far
	dies  int // at this step; none when 0
	after bool
	fails bool
}

type vg struct {
	made    int // logical volumes so far, for their UUIDs
	free    []int
	dirty   []bool // what an extent holds is not zero
	logical map[string]*fakeLV
	active  map[string]disk.Mapped
	busy    map[string]bool // in use, by name
	thin    host.ThinPool
	trimmed []string
}

type fakeLV struct {
	host.LogicalVolume
	extents []int // none for those of the thin pool
}

// newFake is a volume group of 64 extents, and a thin pool besides.
func newFake() *fake {
	g := &vg{logical: map[string]*fakeLV{}, active: map[string]disk.Mapped{}, busy: map[string]bool{}, thin: host.ThinPool{Zeroes: true, Active: true, MetadataUsed: 10}}
	for i := range 64 {
		g.free, g.dirty = append(g.free, i), append(g.dirty, true)
	}
	g.logical["thin0"] = &fakeLV{LogicalVolume: host.LogicalVolume{Name: "thin0", UUID: "t", Bytes: 64 * extent, ThinPool: &g.thin}}
	return &fake{vg: g}
}

func (f *fake) step(do func() error) error {
	f.steps++
	switch {
	case f.dies == 0, f.steps < f.dies, f.steps > f.dies && f.fails:
		return do()
	case f.steps == f.dies && f.after:
		return errors.Join(do(), errDead)
	}
	return errDead
}

func (f *fake) Name() string                  { return "vg0" }
func (f *fake) DeviceName(name string) string { return "vg0-" + strings.ReplaceAll(name, "-", "--") }

func (f *fake) Report(context.Context, bool) (host.VolumeGroupReport, error) {
	r := host.VolumeGroupReport{UUID: "g", ExtentBytes: extent, Physical: []host.PhysicalVolume{{Name: "/dev/sda", UUID: "p", Extents: 64, Free: int64(len(f.free)), Allocatable: true}}}
	for _, name := range slices.Sorted(maps.Keys(f.logical)) {
		lv := *f.logical[name]
		lv.Tags = slices.Clone(lv.Tags)
		for _, e := range lv.extents {
			lv.Ranges = append(lv.Ranges, strconv.Itoa(e))
		}
		r.Logical = append(r.Logical, lv.LogicalVolume)
	}
	return r, nil
}

func (f *fake) Device(_ string, w host.Which) (disk.Mapped, error) {
	if d, ok := f.active[w.Name]; ok && strings.HasPrefix(d.UUID, w.UUID) {
		return d, nil
	}
	return disk.Mapped{}, host.ErrNoVolume
}

// take takes extents off the free ones: these, or any.
func (g *vg) take(n int, on []string) (taken []int, err error) {
	for _, e := range slices.Clone(g.free) {
		if len(taken) < n && (on == nil || slices.Contains(on, strconv.Itoa(e))) {
			taken = append(taken, e)
		}
	}
	if len(taken) < n {
		return nil, host.ErrNoExtents
	}
	g.free = slices.DeleteFunc(g.free, func(e int) bool { return slices.Contains(taken, e) })
	return taken, nil
}

func (f *fake) Create(_ context.Context, n host.NewVolume) error {
	return f.step(func() error {
		if f.logical[n.Name] != nil {
			return host.ErrExists
		}
		f.made++
		lv := &fakeLV{LogicalVolume: host.LogicalVolume{Name: n.Name, UUID: fmt.Sprint("u", f.made), Bytes: n.Bytes, Tags: slices.Clone(n.Tags), Pool: n.Thin}}
		if n.Thin == "" {
			var err error
			if lv.extents, err = f.take(int(n.Bytes/extent), n.On); err != nil {
				return err
			}
		}
		f.logical[n.Name] = lv
		f.active[n.Name] = disk.Mapped{Device: n.Name, UUID: lv.UUID, SizeBytes: n.Bytes}
		return nil
	})
}

// Extend can die between the metadata and the device, which is then suspended.
func (f *fake) Extend(_ context.Context, name string, bytes int64, _ int, on []string) error {
	err := f.step(func() error {
		lv := f.logical[name]
		if lv.Pool == "" {
			more, err := f.take(int((bytes-lv.Bytes)/extent), on)
			if err != nil {
				return err
			}
			lv.extents = append(lv.extents, more...)
		}
		lv.Bytes = bytes
		if d, ok := f.active[name]; ok {
			d.Suspended = true
			f.active[name] = d
		}
		return nil
	})
	if err != nil {
		return err
	}
	return f.step(func() error { f.refresh(name); return nil })
}

func (g *vg) refresh(name string) {
	if d, ok := g.active[name]; ok {
		d.Suspended, d.SizeBytes = false, g.logical[name].Bytes
		g.active[name] = d
	}
}

// found is the logical volume that a Which names, nil if there is none.
func (g *vg) found(w host.Which) *fakeLV {
	lv := g.logical[w.Name]
	if lv == nil || w.UUID != "" && w.UUID != lv.UUID || w.Tag != "" && !slices.Contains(lv.Tags, w.Tag) {
		return nil
	}
	return lv
}

func (f *fake) AddTag(_ context.Context, w host.Which, tag string) error {
	return f.step(func() error {
		lv := f.found(w)
		if lv == nil {
			return host.ErrNoVolume
		}
		lv.Tags = append(lv.Tags, tag)
		return nil
	})
}

func (f *fake) DelTag(_ context.Context, w host.Which, tag string) error {
	return f.step(func() error {
		lv := f.found(w)
		if lv == nil {
			return host.ErrNoVolume
		}
		lv.Tags = slices.DeleteFunc(lv.Tags, func(t string) bool { return t == tag })
		return nil
	})
}

func (f *fake) Activate(_ context.Context, w host.Which) error {
	return f.step(func() error {
		if lv := f.found(w); lv != nil {
			f.active[w.Name] = disk.Mapped{Device: w.Name, UUID: lv.UUID, SizeBytes: lv.Bytes}
		}
		return nil
	})
}

func (f *fake) Deactivate(_ context.Context, w host.Which) error {
	return f.step(func() error { delete(f.active, w.Name); return nil })
}

func (f *fake) Refresh(_ context.Context, w host.Which) error {
	return f.step(func() error { f.refresh(w.Name); return nil })
}

func (f *fake) Remove(_ context.Context, w host.Which) error {
	return f.step(func() error {
		lv := f.found(w)
		if lv == nil {
			return nil
		}
		f.free = append(f.free, lv.extents...)
		slices.Sort(f.free)
		delete(f.logical, w.Name)
		delete(f.active, w.Name)
		return nil
	})
}

// Erase erases the first and the last extent when only signatures are to go. It
// can die in the middle.
func (f *fake) Erase(_ context.Context, d disk.Mapped, m wipe.Method) error {
	extents := f.logical[d.Device].extents
	for i, e := range extents {
		if m == wipe.MethodSignatures && i > 0 && i < len(extents)-1 {
			continue
		}
		if err := f.step(func() error { f.dirty[e] = false; return nil }); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) Trim(_ context.Context, d disk.Mapped) error {
	return f.step(func() error { f.trimmed = append(f.trimmed, d.Device); return nil })
}

func (f *fake) CheckUnused(d disk.Mapped) error {
	if f.busy[d.Device] {
		return host.ErrBusy
	}
	return nil
}
