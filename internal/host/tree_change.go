package host

import (
	"fmt"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
)

// Inode flags that keep a directory's entries from being removed or moved:
// include/uapi/linux/fs.h.
const (
	flagImmutable   = 0x00000010
	flagAppend      = 0x00000020
	flagProjInherit = 0x20000000
)

// btrfs' flags of a subvolume: include/uapi/linux/btrfs.h.
const (
	btrfsSubvolGetFlags = 0x80089419 // BTRFS_IOC_SUBVOL_GETFLAGS
	btrfsSubvolSetFlags = 0x4008941a // BTRFS_IOC_SUBVOL_SETFLAGS
	btrfsSubvolReadOnly = 1 << 1
)

// Unlink removes an entry that is not a directory (EISDIR otherwise). A link
// is removed itself, never what it names. A mount point is ErrNestedMount.
func (t *Tree) Unlink(d *Dir, name string) error {
	return t.removed(d, name, unix.Unlinkat(d.fd, name, 0))
}

// Rmdir removes an empty directory or an empty btrfs subvolume (ENOTEMPTY,
// ENOTDIR otherwise). A mount point is ErrNestedMount.
func (t *Tree) Rmdir(d *Dir, name string) error {
	return t.removed(d, name, unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR))
}

// removed explains what came of removing name from d.
func (t *Tree) removed(d *Dir, name string, err error) error {
	switch err {
	case nil:
		return nil
	case unix.EBUSY:
		err = ErrBusy
		var stx unix.Statx_t
		flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
		if unix.Statx(d.fd, name, flags, unix.STATX_MNT_ID, &stx) == nil && stx.Mnt_id != t.mount {
			err = ErrNestedMount
		}
	case unix.EEXIST: // what POSIX lets rmdir say instead
		err = unix.ENOTEMPTY
	}
	return fmt.Errorf("removing %q: %w", join(d, name), err)
}

// Move renames an entry of d to newName in the directory to. What has that
// name already is left alone: EEXIST.
func (t *Tree) Move(d *Dir, name string, to *Dir, newName string) error {
	if err := unix.Renameat2(d.fd, name, to.fd, newName, unix.RENAME_NOREPLACE); err != nil {
		return fmt.Errorf("moving %q to %q: %w", join(d, name), join(to, newName), err)
	}
	return nil
}

// Unprotect clears the flags of d itself that keep its entries from being
// removed or moved: immutable, append-only, project-inherit. It says whether
// any was set.
func (t *Tree) Unprotect(d *Dir) (bool, error) {
	cleared, err := clearFlags(d.fd)
	if err != nil {
		return false, fmt.Errorf("clearing flags of %q: %w", d.Path(), err)
	}
	return cleared, nil
}

// UnprotectEntry does as Unprotect to a file or directory in d. Other kinds of
// entries have no such flags.
func (t *Tree) UnprotectEntry(d *Dir, name string) (bool, error) {
	cleared, err := unprotectEntry(d, name)
	if err != nil {
		return false, fmt.Errorf("clearing flags of %q: %w", join(d, name), err)
	}
	return cleared, nil
}

func unprotectEntry(d *Dir, name string) (bool, error) {
	// Looked at through a descriptor that opens nothing, because opening a
	// device or a FIFO for reading does things.
	handle, err := openWithin(d, name, unix.O_PATH)
	if err != nil {
		return false, err
	}
	defer unix.Close(handle)
	var st unix.Stat_t
	if err := unix.Fstat(handle, &st); err != nil {
		return false, err
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return false, nil
	}
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(handle), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	return clearFlags(fd)
}

func clearFlags(fd int) (bool, error) {
	const protecting = flagImmutable | flagAppend | flagProjInherit
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err == unix.ENOTTY || err == unix.EOPNOTSUPP {
		return false, nil // a filesystem without flags
	}
	if err != nil {
		return false, err
	}
	if flags&protecting == 0 {
		return false, nil
	}
	return true, unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags&^protecting))
}

// Unseal makes d writable if it is a read-only btrfs subvolume.
func (t *Tree) Unseal(d *Dir) error {
	const subvolumeInode = 256 // BTRFS_FIRST_FREE_OBJECTID, which every subvolume's root has
	if t.fsMagic != unix.BTRFS_SUPER_MAGIC || d.ino != subvolumeInode {
		return nil
	}
	var flags uint64
	if err := ioctl(d.fd, btrfsSubvolGetFlags, &flags); err != nil {
		return fmt.Errorf("reading the flags of subvolume %q: %w", d.Path(), err)
	}
	if flags&btrfsSubvolReadOnly == 0 {
		return nil
	}
	flags &^= btrfsSubvolReadOnly
	if err := ioctl(d.fd, btrfsSubvolSetFlags, &flags); err != nil {
		return fmt.Errorf("making subvolume %q writable: %w", d.Path(), err)
	}
	return nil
}

// SetOwner makes o the owner of d.
func (t *Tree) SetOwner(d *Dir, o disk.Owner) error {
	if err := unix.Fchown(d.fd, int(o.UID), int(o.GID)); err != nil {
		return fmt.Errorf("setting the owner of %q: %w", d.Path(), err)
	}
	if err := unix.Fchmod(d.fd, o.Mode); err != nil {
		return fmt.Errorf("setting the mode of %q: %w", d.Path(), err)
	}
	return nil
}

// RemoveXattr removes one extended attribute of d, if it is there.
func (t *Tree) RemoveXattr(d *Dir, name string) error {
	if err := unix.Fremovexattr(d.fd, name); err != nil && err != unix.ENODATA {
		return fmt.Errorf("removing extended attribute %q of %q: %w", name, d.Path(), err)
	}
	return nil
}

// Sync makes all that was done to the tree survive a loss of power. It writes
// out the whole filesystem, as btrfs need not log a directory's removed
// descendants when only the directory is synced.
//
// After a disk error ext4 may have a journal that has ended, with all removals
// in it: it has nothing to write, so a sync goes well, and it need not show as
// read-only. What is on the disk is as before. Such a filesystem takes no new
// directory, so one is made and removed first.
func (t *Tree) Sync() error {
	if err := unix.Mkdirat(t.root.fd, probe, 0o700); err != nil {
		return fmt.Errorf("making sure that the filesystem of %q takes writes: %w", t.path, err)
	}
	if err := unix.Unlinkat(t.root.fd, probe, unix.AT_REMOVEDIR); err != nil {
		return fmt.Errorf("making sure that the filesystem of %q takes writes: %w", t.path, err)
	}
	if err := unix.Syncfs(t.root.fd); err != nil {
		return fmt.Errorf("syncing the filesystem of %q: %w", t.path, err)
	}
	return nil
}

// probe is the directory that Sync makes. After a crash it may be left, and is
// removed when the wipe goes on.
const probe = ".berth-wipe"

// ioctl calls one that takes a pointer to 64 bits.
func ioctl(fd int, request uint, value *uint64) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(value)))
	if errno != 0 {
		return errno
	}
	return nil
}
