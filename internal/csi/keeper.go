package csi

import (
	"context"
	"errors"

	"github.com/berth-storage/berth/internal/pool"
)

// A Keeper does to volumes what has to be recorded. A method may be called
// again after an error or a crash.
type Keeper interface {
	// Create makes a volume, or returns the one of that ID which fits: it has the
	// mode and the filesystem, and at least the bytes. One that does not fit is
	// pool.ErrDiffers. fsType is the filesystem to make on a device; "" for a
	// directory and for a raw device.
	Create(ctx context.Context, poolName string, s pool.Spec, fsType string) (pool.Volume, error)
	// Delete wipes and removes a volume; one that is not there is no error. One
	// that must be kept, as a PersistentVolume speaks for it, is ErrHeld.
	Delete(ctx context.Context, poolName string, id pool.ID) error
	// Grow makes a volume hold at least that many bytes. One that has fewer, and
	// that a PersistentVolume speaks for, is ErrHeld.
	Grow(ctx context.Context, poolName string, id pool.ID, bytes int64) (pool.Volume, error)
	// Use notes durably that pods are about to get the volume. One that no pod
	// may have now is ErrHeld. fsType is what Create was given.
	Use(ctx context.Context, poolName string, id pool.ID) (fsType string, err error)
}

// ErrHeld: the volume's record does not allow what was asked for. The message
// says why, and what to do.
var ErrHeld = errors.New("the volume is held back")

// ErrPending: something else is being done with the volume, or what there is of it
// is not known yet. The same request may be obeyed a moment later.
var ErrPending = errors.New("the volume is being worked on; ask again")
