package hand

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// btrfs' calls, from include/uapi/linux/btrfs.h, in the order that a pool makes
// them for a volume.
const (
	subvolCreate  = 0x5000940e // BTRFS_IOC_SUBVOL_CREATE
	inoLookup     = 0xd0009412 // BTRFS_IOC_INO_LOOKUP
	qgroupCreate  = 0x4010942a // BTRFS_IOC_QGROUP_CREATE
	qgroupAssign  = 0x40189429 // BTRFS_IOC_QGROUP_ASSIGN
	qgroupLimit   = 0x8030942b // BTRFS_IOC_QGROUP_LIMIT
	snapDestroy   = 0x5000940f // BTRFS_IOC_SNAP_DESTROY
	firstInode    = 256
	limitBytes    = 1 // BTRFS_QGROUP_LIMIT_MAX_RFER
	carvedBytes   = 16 << 20
	kernelVolumes = "kernel-alone"
)

// carve makes n subvolumes, each with a quota group and a limit, one after the
// other with nothing but the kernel's calls, and waits once until all of it is
// on disk. It returns how long that took, and removes them again.
func carve(pool string, n int) (took time.Duration, err error) {
	dir := filepath.Join(pool, kernelVolumes)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, fmt.Errorf("carving: %w", err)
	}
	at, err := os.Open(dir)
	if err != nil {
		return 0, fmt.Errorf("carving: %w", err)
	}
	defer at.Close()
	fd := int(at.Fd())
	var ids []uint64
	begun := time.Now()
	for i := range n {
		id, err := carveOne(fd, dir, fmt.Sprintf("v-%d", i))
		if err != nil {
			return 0, fmt.Errorf("carving: %w", err)
		}
		ids = append(ids, id)
	}
	if err := unix.Syncfs(fd); err != nil {
		return 0, fmt.Errorf("carving: %w", err)
	}
	took = time.Since(begun)
	for i, id := range ids {
		if err := uncarveOne(fd, id, fmt.Sprintf("v-%d", i)); err != nil {
			return 0, fmt.Errorf("removing what was carved: %w", err)
		}
	}
	return took, os.Remove(dir)
}

type named struct {
	fd   int64
	name [4088]byte
}

func carveOne(fd int, dir, name string) (id uint64, err error) {
	var args named
	copy(args.name[:], name)
	if err := ioctl(fd, subvolCreate, unsafe.Pointer(&args)); err != nil {
		return 0, fmt.Errorf("making subvolume %s: %w", name, err)
	}
	sub, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return 0, err
	}
	defer sub.Close()
	var lookup struct {
		tree, object uint64
		name         [4080]byte
	}
	lookup.object = firstInode
	if err := ioctl(int(sub.Fd()), inoLookup, unsafe.Pointer(&lookup)); err != nil {
		return 0, fmt.Errorf("finding the number of subvolume %s: %w", name, err)
	}
	of := quotaGroup(lookup.tree)
	create := struct{ create, group uint64 }{1, of}
	assign := struct{ assign, from, to uint64 }{1, lookup.tree, of}
	limit := struct{ group, flags, referenced, exclusive, reservedRef, reservedExcl uint64 }{group: of, flags: limitBytes, referenced: carvedBytes}
	return lookup.tree, errors.Join(
		ioctl(fd, qgroupCreate, unsafe.Pointer(&create)),
		ioctl(fd, qgroupAssign, unsafe.Pointer(&assign)),
		ioctl(fd, qgroupLimit, unsafe.Pointer(&limit)),
	)
}

func uncarveOne(fd int, id uint64, name string) error {
	assign := struct{ assign, from, to uint64 }{0, id, quotaGroup(id)}
	remove := struct{ create, group uint64 }{0, quotaGroup(id)}
	var args named
	copy(args.name[:], name)
	return errors.Join(
		ioctl(fd, qgroupAssign, unsafe.Pointer(&assign)),
		ioctl(fd, qgroupCreate, unsafe.Pointer(&remove)),
		ioctl(fd, snapDestroy, unsafe.Pointer(&args)),
	)
}

// quotaGroup is a quota group of level 1, with the subvolume's number.
func quotaGroup(id uint64) uint64 { return 1<<48 | id }

func ioctl(fd int, call uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(call), uintptr(arg)); errno != 0 {
		return fmt.Errorf("calling btrfs (%#x): %w", call, errno)
	}
	return nil
}
