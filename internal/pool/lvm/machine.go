package lvm

import (
	"context"
	"fmt"
	"os"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/wipe"
)

// hands is what a pool does to the machine. A test makes each of them fail.
type hands interface {
	Name() string
	DeviceName(name string) string
	Report(ctx context.Context, live bool) (host.VolumeGroupReport, error)
	Device(vgUUID string, w host.Which) (disk.Mapped, error)

	Create(context.Context, host.NewVolume) error
	Extend(ctx context.Context, name string, bytes int64, stripes int, on []string) error
	AddTag(ctx context.Context, w host.Which, tag string) error
	DelTag(ctx context.Context, w host.Which, tag string) error
	Activate(context.Context, host.Which) error
	Deactivate(context.Context, host.Which) error
	Refresh(context.Context, host.Which) error
	Remove(context.Context, host.Which) error

	Erase(context.Context, disk.Mapped, wipe.Method) error
	Trim(context.Context, disk.Mapped) error
	CheckUnused(disk.Mapped) error
}

// machine is this one.
type machine struct{ *host.VolumeGroup }

// path is the kernel's own name of a device. Those that have the volume's name
// in them are links where udev runs, and nodes, or not there, where it does not.
func path(d disk.Mapped) string { return "/dev/" + d.Device }

// is proves that a descriptor is of the logical volume's device.
func is(d disk.Mapped) func(fd int) error {
	return func(fd int) error {
		b, err := disk.ReadBlockFD(os.DirFS("/"), fd)
		if err == nil && b.DMUUID != d.UUID {
			err = fmt.Errorf("%s has the UUID %q, and %q is meant", b.Name, b.DMUUID, d.UUID)
		}
		return err
	}
}

// Erase overwrites a device by a method of package wipe, and reads it back.
func (machine) Erase(ctx context.Context, d disk.Mapped, m wipe.Method) error {
	b, err := host.OpenBlock(path(d), is(d))
	if err != nil {
		return err
	}
	defer b.Close()
	_, err = wipe.Block(ctx, b, wipe.BlockOptions{Method: m})
	return err
}

// trimStep is how much is trimmed at a time, in bytes.
const trimStep = 1 << 30

// Trim tells the disks beneath that nothing of a device is needed any more.
func (machine) Trim(ctx context.Context, d disk.Mapped) error {
	b, err := host.OpenBlock(path(d), is(d))
	if err != nil {
		return err
	}
	defer b.Close()
	for off := int64(0); off < b.Size(); off += trimStep {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.Trim(off, min(trimStep, b.Size()-off)); err != nil {
			return err
		}
	}
	return nil
}

// CheckUnused is host.ErrBusy while something uses a device.
func (machine) CheckUnused(d disk.Mapped) error { return host.CheckUnused(path(d), is(d)) }
