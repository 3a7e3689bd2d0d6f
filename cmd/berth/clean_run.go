package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/wipe"
)

var sys = os.DirFS("/")

// cleanDevice erases the block device that a path leads to.
func cleanDevice(ctx context.Context, path string, o wipe.BlockOptions, say say) (wipe.Result, error) {
	device, err := filepath.EvalSymlinks(path)
	if err != nil {
		return wipe.Result{}, err
	}
	b, err := host.OpenBlock(device, func(fd int) error {
		facts, err := disk.ReadBlockFD(sys, fd)
		if err != nil {
			return err
		}
		return proveIdentity(facts.ID(), say)
	})
	if err != nil {
		return wipe.Result{}, err
	}
	defer b.Close()
	say("%s: erasing %s (%s), method %s", path, device, wipe.Bytes(b.Size()), o.Method)
	p := progress{total: o.Total(b.Size()), now: time.Now, say: say, last: time.Now()}
	o.Checkpoint = p.reached
	return wipe.Block(ctx, b, o)
}

// cleanDirectory empties the root of a mounted filesystem. The directory keeps
// its owner and mode.
func cleanDirectory(ctx context.Context, path string, _ wipe.BlockOptions, say say) (wipe.Result, error) {
	m, err := mountAt(path)
	if err != nil {
		return wipe.Result{}, err
	}
	var owner disk.Owner
	t, err := host.OpenTree(m.Point, func(fd int) error {
		if err := disk.CheckMount(fd, m); err != nil {
			return err
		}
		now, err := disk.FilesystemIDOfFD(fd, m)
		if err != nil {
			return err
		}
		if owner, err = disk.OwnerOfFD(fd); err != nil {
			return err
		}
		return proveIdentity(now, say)
	})
	if err != nil {
		return wipe.Result{}, err
	}
	defer t.Shut()
	say("%s: removing everything in it (%s on %s)", path, m.FSType, m.Source)
	return wipe.Contents(ctx, t, wipe.ContentsOptions{Owner: owner})
}

// mountAt returns the mount whose root is at the path. Links are followed on the
// way to it; the last element must not be one.
func mountAt(path string) (disk.Mount, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return disk.Mount{}, err
	}
	if path == "/" {
		return disk.Mount{}, errors.New("is the root of everything, not a volume")
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return disk.Mount{}, err
	}
	mounts, err := disk.ReadMounts(sys)
	if err != nil {
		return disk.Mount{}, err
	}
	m, ok := mounts.At(filepath.Join(dir, filepath.Base(path)))
	switch {
	case !ok:
		return disk.Mount{}, errors.New("is not a mount point")
	case disk.SharedType(m.FSType):
		return disk.Mount{}, fmt.Errorf("is a %s mount, which other nodes may see too; it is not erased from one of them", m.FSType)
	}
	return m, nil
}
