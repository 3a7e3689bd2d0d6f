// Package btrfs is the pool whose volumes are subvolumes of a btrfs, each held
// to its size by a quota group. It needs simple quotas (Linux 6.7): with the
// older ones, a tenant gets past the limit by making a subvolume.
package btrfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/pool/internal/shelf"
	"github.com/berth-storage/berth/internal/wipe"
)

// A Pool is a pool.Pool.
type Pool struct {
	*shelf.Shelf
	groups string // the directory in sysfs with a directory for each quota group
}

// Open opens the pool in a folder of a btrfs. sysfs is where sysfs is mounted.
// A filesystem without quotas gets them.
func Open(ctx context.Context, f *host.Folder, sysfs string, reserve pool.Reserve) (*Pool, error) {
	uuid, err := filesystem(f)
	if err != nil {
		return nil, err
	}
	mode, err := quotas(sysfs, uuid)
	if err == nil && mode == "" {
		if err = f.EnableSimpleQuotas(); err == nil {
			mode, err = quotas(sysfs, uuid)
		}
	}
	if err == nil && mode != "squota" {
		err = fmt.Errorf("its quotas are %q, which do not hold a tenant to a size; turn them off (btrfs quota disable), and start the agent again", mode)
	}
	if err != nil {
		return nil, fmt.Errorf("%q %w: %w", f.Path("."), pool.ErrUnfit, err)
	}
	groups := sysfs + "/fs/btrfs/" + uuid + "/qgroups"
	s, err := shelf.Open(ctx, f, subvolumes{groups}, reserve, nil)
	return &Pool{s, groups}, err
}

// Features is pool.Pool's.
func (*Pool) Features() pool.Features { return pool.Features{Enforced: true} }

// Used is pool.Meter's.
func (p *Pool) Used(_ context.Context, id pool.ID) (pool.Usage, error) {
	return p.Measure(id, func(f *host.Folder, name string) (u pool.Usage, err error) {
		v, err := f.SubvolumeOf(name)
		if err != nil {
			return u, err
		}
		if u.Bytes, err = referenced(p.groups, v.Group()); err != nil {
			err = fmt.Errorf("reading what %s holds: %w", id, err)
		}
		return u, err
	})
}

// referenced returns how many bytes a quota group holds.
func referenced(groups, group string) (int64, error) {
	text, err := os.ReadFile(groups + "/" + group + "/referenced")
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// filesystem returns the UUID of the btrfs that a folder is in.
func filesystem(f *host.Folder) (uuid string, err error) {
	err = f.With(".", func(fd int) error {
		var st unix.Statfs_t
		if err := unix.Fstatfs(fd, &st); err != nil {
			return err
		}
		if st.Type != unix.BTRFS_SUPER_MAGIC {
			return fmt.Errorf("%q %w of kind btrfs: another filesystem is there; mount a btrfs at it", f.Path("."), pool.ErrUnfit)
		}
		uuid, err = disk.BtrfsUUID(fd)
		return err
	})
	return uuid, err
}

// quotas returns what btrfs says of a filesystem's quotas: squota, qgroup, or
// nothing for none.
func quotas(sysfs, uuid string) (string, error) {
	features := os.DirFS(sysfs + "/fs/btrfs")
	if _, err := fs.Stat(features, "features/simple_quota"); err != nil {
		return "", errors.New("this kernel has no simple quotas of btrfs, which came with Linux 6.7; use a newer kernel, or a pool of kind xfs or lvm")
	}
	mode, err := fs.ReadFile(features, uuid+"/qgroups/mode")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(mode)), err
}

type subvolumes struct{ groups string }

// newMode is the mode of a new volume's directory, as `mkdir` gives it to root.
const newMode = 0o755

func (subvolumes) Make(f *host.Folder, name string) error { return f.MakeSubvolume(name, newMode) }

func (subvolumes) Limit(f *host.Folder, name string, bytes int64) error {
	v, err := f.SubvolumeOf(name)
	if err != nil {
		return err
	}
	return f.LimitSubvolume(v, bytes)
}

func (subvolumes) Total(f *host.Folder) (int64, error) { return shelf.Usable(f) }

// Destroy removes a subvolume, and waits until its space is free, so that it is not
// promised before. Its limit goes first: when it is gone, nothing tells its number
// any more; nor is there anything to wait by then, after a crash. What a tenant made
// subvolumes in is emptied first.
func (s subvolumes) Destroy(ctx context.Context, f *host.Folder, name string) error {
	v, err := f.SubvolumeOf(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.UnlimitSubvolume(v); err != nil {
		return err
	}
	err = f.DestroySubvolume(name)
	if err == nil {
		return s.freed(ctx, f, v)
	}
	if !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	t, err := host.OpenTree(f.Path(name), func(int) error { return nil })
	if err != nil {
		return err
	}
	_, err = wipe.Contents(ctx, t, wipe.ContentsOptions{Owner: disk.Owner{Mode: newMode}})
	if err = errors.Join(err, t.Shut()); err != nil {
		return err
	}
	if err := f.DestroySubvolume(name); err != nil {
		return err
	}
	return s.freed(ctx, f, v)
}

// How often it is looked whether a subvolume's space is free, and the kernel asked to
// free it.
const (
	look = 10 * time.Millisecond
	ask  = time.Second
)

// freed waits until the space of a subvolume that was removed is free. The kernel
// does that beside whoever removes it, and takes the longer the more it held.
func (s subvolumes) freed(ctx context.Context, f *host.Folder, v host.Subvolume) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	var asked time.Time
	for {
		bytes, err := referenced(s.groups, v.Own())
		gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) // the second while its file is open
		if gone || err == nil && bytes == 0 {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading what a removed subvolume holds: %w", err)
		}
		if time.Since(asked) >= ask {
			if err := f.FreeSubvolumes(); err != nil {
				return err
			}
			asked = time.Now()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for a removed subvolume's space: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}
