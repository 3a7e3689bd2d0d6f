package host

import (
	"errors"
	"fmt"
	"os"
	"path"
	"unsafe"

	"golang.org/x/sys/unix"
)

// btrfs' calls and what they take: include/uapi/linux/btrfs.h.
const (
	btrfsSnapDestroy  = 0x5000940f // BTRFS_IOC_SNAP_DESTROY
	btrfsStartSync    = 0x80089418 // BTRFS_IOC_START_SYNC
	btrfsSubvolCreate = 0x5000940e // BTRFS_IOC_SUBVOL_CREATE
	btrfsInoLookup    = 0xd0009412 // BTRFS_IOC_INO_LOOKUP
	btrfsQuotaCtl     = 0xc0109428 // BTRFS_IOC_QUOTA_CTL
	btrfsQgroupAssign = 0x40189429 // BTRFS_IOC_QGROUP_ASSIGN
	btrfsQgroupCreate = 0x4010942a // BTRFS_IOC_QGROUP_CREATE
	btrfsQgroupLimit  = 0x8030942b // BTRFS_IOC_QGROUP_LIMIT

	btrfsQuotaEnableSimple = 4   // BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA
	btrfsLimitReferenced   = 1   // BTRFS_QGROUP_LIMIT_MAX_RFER
	btrfsFirstInode        = 256 // BTRFS_FIRST_FREE_OBJECTID: the root directory of each subvolume
)

// A Subvolume is the number of a btrfs subvolume, which is never used again.
type Subvolume uint64

// group is the quota group of a subvolume and of all subvolumes made in it:
// one level over the kernel's own, which is the subvolume's alone.
func (s Subvolume) group() uint64 { return 1<<48 | uint64(s) }

// Group is that group's name in sysfs, in the filesystem's directory qgroups.
func (s Subvolume) Group() string { return fmt.Sprintf("1_%d", uint64(s)) }

// Own is the name in sysfs of the kernel's own group of the subvolume. It is there
// until the space of a subvolume that was removed is free.
func (s Subvolume) Own() string { return fmt.Sprintf("0_%d", uint64(s)) }

type btrfsVolArgs struct {
	fd   int64
	name [4088]byte
}

func btrfsCall(fd int, call uint, arg unsafe.Pointer) error {
	_, err := again(func() (int, error) {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(call), uintptr(arg))
		if errno != 0 {
			return 0, errno
		}
		return int(n), nil
	})
	return err
}

// named calls one of btrfs' calls on a name in a directory.
func (f *Folder) named(call uint, name string) error {
	var args btrfsVolArgs
	if copy(args.name[:len(args.name)-1], path.Base(name)) < len(path.Base(name)) {
		return unix.ENAMETOOLONG
	}
	return f.With(path.Dir(name), func(fd int) error { return btrfsCall(fd, call, unsafe.Pointer(&args)) })
}

// MakeSubvolume makes an empty btrfs subvolume, which is root's; one that is
// there is no error.
func (f *Folder) MakeSubvolume(name string, mode os.FileMode) error {
	if err := f.named(btrfsSubvolCreate, name); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("making subvolume %q: %w", f.Path(name), err)
	}
	return f.root.Chmod(name, mode)
}

// DestroySubvolume removes a subvolume with all its files at once. One with
// subvolumes in it is ENOTEMPTY. The space is free a while later; FreeSubvolumes
// makes that soon.
func (f *Folder) DestroySubvolume(name string) error {
	if err := f.named(btrfsSnapDestroy, name); err != nil {
		if errors.Is(err, unix.EBUSY) {
			err = ErrBusy // a mount is on it
		}
		return fmt.Errorf("removing subvolume %q: %w", f.Path(name), err)
	}
	return nil
}

// FreeSubvolumes has the kernel begin to free the space of subvolumes that were
// removed, which it otherwise does within half a minute.
func (f *Folder) FreeSubvolumes() error {
	var transaction uint64
	err := f.With(".", func(fd int) error { return btrfsCall(fd, btrfsStartSync, unsafe.Pointer(&transaction)) })
	if err != nil {
		return fmt.Errorf("freeing the removed subvolumes of %q: %w", f.path, err)
	}
	return nil
}

// SubvolumeOf is the subvolume that an entry is the root of, or
// fs.ErrNotExist; what is not the root of one is an error.
func (f *Folder) SubvolumeOf(name string) (Subvolume, error) {
	var args struct {
		tree, object uint64
		name         [4080]byte
	}
	args.object = btrfsFirstInode
	err := f.With(name, func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		if st.Ino != btrfsFirstInode {
			return errors.New("is not a subvolume")
		}
		return btrfsCall(fd, btrfsInoLookup, unsafe.Pointer(&args))
	})
	if err != nil {
		return 0, fmt.Errorf("reading subvolume %q: %w", f.Path(name), err)
	}
	return Subvolume(args.tree), nil
}

// LimitSubvolume limits what a subvolume, with all that are made in it, holds.
// The filesystem's simple quotas must be on, and the subvolume must have been
// empty when it was first limited.
func (f *Folder) LimitSubvolume(s Subvolume, bytes int64) error {
	create := struct{ create, group uint64 }{1, s.group()}
	assign := struct{ assign, from, to uint64 }{1, uint64(s), s.group()}
	limit := struct{ group, flags, referenced, exclusive, reservedRef, reservedExcl uint64 }{
		group: s.group(), flags: btrfsLimitReferenced, referenced: uint64(bytes),
	}
	err := f.With(".", func(fd int) error {
		if err := btrfsCall(fd, btrfsQgroupCreate, unsafe.Pointer(&create)); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		if err := btrfsCall(fd, btrfsQgroupAssign, unsafe.Pointer(&assign)); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		return btrfsCall(fd, btrfsQgroupLimit, unsafe.Pointer(&limit))
	})
	if err != nil {
		return fmt.Errorf("limiting subvolume %d of %q: %w", s, f.path, err)
	}
	return nil
}

// UnlimitSubvolume removes the limit; one that is not there is no error. While
// subvolumes that were made in this one are in its group the kernel keeps the
// group, which then stays, without effect, as a number that is never used again.
func (f *Folder) UnlimitSubvolume(s Subvolume) error {
	assign := struct{ assign, from, to uint64 }{0, uint64(s), s.group()}
	remove := struct{ create, group uint64 }{0, s.group()}
	err := f.With(".", func(fd int) error {
		if err := btrfsCall(fd, btrfsQgroupAssign, unsafe.Pointer(&assign)); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		if err := btrfsCall(fd, btrfsQgroupCreate, unsafe.Pointer(&remove)); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBUSY) {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("removing the limit of subvolume %d of %q: %w", s, f.path, err)
	}
	return nil
}

// EnableSimpleQuotas turns btrfs' simple quotas on; they may be on.
func (f *Folder) EnableSimpleQuotas() error {
	args := struct{ command, status uint64 }{command: btrfsQuotaEnableSimple}
	err := f.With(".", func(fd int) error { return btrfsCall(fd, btrfsQuotaCtl, unsafe.Pointer(&args)) })
	if err != nil {
		return fmt.Errorf("turning on simple quotas of %q: %w", f.path, err)
	}
	return nil
}
