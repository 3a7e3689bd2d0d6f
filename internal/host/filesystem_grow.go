package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls that grow a mounted filesystem, and what they take: include/uapi/linux
// ext4.h and btrfs.h, fs/xfs/libxfs/xfs_fs.h.
const (
	ext4ResizeFS    = 0x40086610 // EXT4_IOC_RESIZE_FS
	xfsGeometry     = 0x80705864 // XFS_IOC_FSGEOMETRY_V1
	xfsGrowData     = 0x4010586e // XFS_IOC_FSGROWFSDATA
	btrfsResize     = 0x50009403 // BTRFS_IOC_RESIZE
	btrfsWholeFirst = "1:max"    // its only device, as far as that goes
)

// ErrNotMounted: another thing is mounted at the path, or nothing.
var ErrNotMounted = errors.New("it is not mounted there")

// GrowFilesystem makes the filesystem that is mounted at a path, from that
// device, as large as the device. One that is so already is no error. It never
// shrinks one.
func GrowFilesystem(device, path string) error {
	err := MountedFrom(device, path)
	if err == nil {
		err = growAt(device, path)
	}
	if err != nil {
		return fmt.Errorf("growing the filesystem of %q at %q: %w", device, path, err)
	}
	return nil
}

// MountedFrom is ErrNotMounted unless the filesystem of that device is what is
// mounted at a path.
func MountedFrom(device, path string) error {
	there, err := MountAt(path)
	if err != nil {
		return err
	}
	if there == nil {
		return ErrNotMounted
	}
	if same, err := isOf(there.Source, device); err != nil || !same {
		return errors.Join(fmt.Errorf("%w: %s is", ErrNotMounted, there.Source), err)
	}
	return nil
}

func growAt(device, path string) error {
	at, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	fsType, err := FilesystemOn(device)
	if err != nil {
		return err
	}
	return growMount(at, device, fsType)
}

// growMount grows a filesystem whose root is at an open path.
func growMount(at int, device, fsType string) error {
	fd, err := unix.Openat(at, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	switch fsType {
	case "ext4":
		return growExt4(fd, device)
	case "xfs":
		return growXFS(fd, device)
	case "btrfs":
		var args btrfsVolArgs
		copy(args.name[:], btrfsWholeFirst)
		return btrfsCall(fd, btrfsResize, unsafe.Pointer(&args))
	}
	return fmt.Errorf("%q %w", fsType, ErrFilesystem)
}

// deviceBytes is a device's size; the device may be in use.
func deviceBytes(device string) (bytes uint64, err error) {
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return bytes, ioctl(fd, unix.BLKGETSIZE64, &bytes)
}

// growExt4 asks the kernel only when there is more, as it asks for a capability
// that nobody else needs, CAP_SYS_RESOURCE.
func growExt4(fd int, device string) error {
	bytes, err := deviceBytes(device)
	if err != nil {
		return err
	}
	have, blockBytes, err := ext4Blocks(device)
	if err != nil {
		return err
	}
	blocks := bytes / blockBytes
	if blocks <= have {
		return nil
	}
	return ioctl(fd, ext4ResizeFS, &blocks)
}

// ext4Blocks reads how many blocks an ext4 has, and of how many bytes, from its
// superblock, which in the device's page cache is always the newest. Offsets:
// Linux fs/ext4/ext4.h, struct ext4_super_block.
func ext4Blocks(device string) (blocks, blockBytes uint64, err error) {
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, 0, err
	}
	defer unix.Close(fd)
	super := make([]byte, 1024)
	if _, err := descriptor(fd).ReadAt(super, 1024); err != nil {
		return 0, 0, fmt.Errorf("reading the superblock: %w", err)
	}
	le := binary.LittleEndian
	blocks = uint64(le.Uint32(super[0x4:]))
	if le.Uint32(super[0x60:])&0x80 != 0 { // EXT4_FEATURE_INCOMPAT_64BIT
		blocks |= uint64(le.Uint32(super[0x150:])) << 32
	}
	log := le.Uint32(super[0x18:])
	if log > 6 { // EXT4_MAX_BLOCK_LOG_SIZE is that of 64 KiB
		return 0, 0, fmt.Errorf("reading the superblock: its block size is 2^%d KiB", log)
	}
	return blocks, 1024 << log, nil
}

func growXFS(fd int, device string) error {
	var g struct {
		blockSize, extentSize, groupBlocks, groups, logBlocks, sectorSize, inodeSize, maxInodes uint32
		blocks                                                                                  uint64
		_                                                                                       [72]byte // struct xfs_fsop_geom_v1 has 112 bytes
	}
	if err := growCall(fd, xfsGeometry, unsafe.Pointer(&g)); err != nil {
		return err
	}
	bytes, err := deviceBytes(device)
	if err != nil {
		return err
	}
	to := struct {
		blocks    uint64
		maxInodes uint32
		_         uint32
	}{blocks: bytes / uint64(g.blockSize), maxInodes: g.maxInodes}
	if to.blocks <= g.blocks {
		return nil
	}
	return growCall(fd, xfsGrowData, unsafe.Pointer(&to))
}

func growCall(fd int, call uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(call), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
