package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/pool/btrfs"
	"github.com/berth-storage/berth/internal/pool/dir"
	"github.com/berth-storage/berth/internal/pool/lvm"
	"github.com/berth-storage/berth/internal/pool/xfs"
)

// openPool opens a pool of this machine. The filesystem kinds need a mount of
// their own: where the disk was not mounted, volumes would be carved out of the
// root filesystem, and be hidden when the disk comes.
func openPool(ctx context.Context, c config.Pool) (pool.Pool, error) {
	switch c.Kind {
	case config.PoolDir:
		return openDir(ctx, c)
	case config.PoolXFS:
		return openMounted(c, []string{"xfs", "ext4"}, func(f *host.Folder) (pool.Pool, error) { return xfs.Open(ctx, f, c.Reserve) })
	case config.PoolBtrfs:
		return openMounted(c, []string{"btrfs"}, func(f *host.Folder) (pool.Pool, error) { return btrfs.Open(ctx, f, "/sys", c.Reserve) })
	case config.PoolLVM:
		return lvm.Open(ctx, lvm.Options{VolumeGroup: c.VolumeGroup, Stripes: c.Stripes, Thin: (*lvm.Thin)(c.Thin), Reserve: c.Reserve})
	}
	return nil, fmt.Errorf("%s %w: there is no kind %q", c.Where(), pool.ErrUnfit, c.Kind)
}

// atMount is a pool on a filesystem that is mounted at a path.
type atMount struct {
	pool.Pool
	shutter
	reserver
	path  string
	mount disk.Mount
	uuid  string
}

// There is mounted's. The mount's ID is not another's as long as the pool has
// its directory open.
func (a *atMount) There() error {
	mounts, err := disk.ReadMounts(sys)
	if err != nil {
		return nil // which says nothing
	}
	if m, ok := mounts.At(a.path); !ok || m.ID != a.mount.ID {
		return fmt.Errorf("%q %w any more: its filesystem is not mounted there now; mount it again", a.path, pool.ErrUnfit)
	}
	return nil
}

// Disk is mounted's.
func (a *atMount) Disk() string { return a.uuid }

func openMounted(c config.Pool, types []string, open func(*host.Folder) (pool.Pool, error)) (pool.Pool, error) {
	mounts, err := disk.ReadMounts(sys)
	if err != nil {
		return nil, err
	}
	m, ok := mounts.At(c.Path)
	unfit := func(why string, args ...any) error {
		return fmt.Errorf("%q %w of kind %s: %s", c.Path, pool.ErrUnfit, c.Kind, fmt.Sprintf(why, args...))
	}
	switch {
	case !ok:
		return nil, unfit("nothing is mounted there; mount its filesystem")
	case !slices.Contains(types, m.FSType):
		return nil, unfit("a filesystem of type %s is mounted there; allowed: %s", m.FSType, strings.Join(types, ", "))
	case m.ReadOnly:
		return nil, unfit("it is mounted read-only; mount it read-write, and look why it was not")
	}
	a := &atMount{path: c.Path, mount: m}
	f, err := host.OpenFolder(c.Path, func(fd int) error {
		if err := disk.CheckMount(fd, m); err != nil {
			return err
		}
		a.uuid, err = disk.FilesystemUUID(fd, m)
		return err
	})
	if err != nil {
		return nil, err
	}
	p, err := open(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	a.Pool, a.shutter, a.reserver = p, p.(shutter), p.(reserver)
	return a, nil
}

// atDir is a pool in a plain directory.
type atDir struct {
	*dir.Pool
	path string
	at   inode
}

// inode is a directory whatever its path is.
type inode struct{ dev, ino uint64 }

func inodeOf(st unix.Stat_t) inode { return inode{st.Dev, st.Ino} }

func openDir(ctx context.Context, c config.Pool) (pool.Pool, error) {
	var st unix.Stat_t
	f, err := host.OpenFolder(c.Path, func(fd int) error { return unix.Fstat(fd, &st) })
	if err != nil {
		return nil, err
	}
	p, err := dir.Open(ctx, f, c.Unenforced, c.Reserve)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &atDir{p, c.Path, inodeOf(st)}, nil
}

// There is mounted's: a volume's path must not lead into something that was
// mounted over the directory, or made in its stead.
func (a *atDir) There() error {
	var st unix.Stat_t
	if err := unix.Lstat(a.path, &st); err != nil || inodeOf(st) != a.at {
		return fmt.Errorf("%q %w any more: another directory is at that path now, or none", a.path, pool.ErrUnfit)
	}
	return nil
}

// Disk is mounted's. The space of a directory is shared with all sorts of
// things anyway.
func (a *atDir) Disk() string { return "" }
