package disk

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const btrfsFSInfo = 0x8400941f // BTRFS_IOC_FS_INFO, include/uapi/linux/btrfs.h

// BtrfsUUID is the UUID of the btrfs that fd is in, by which sysfs names it.
func BtrfsUUID(fd int) (string, error) {
	var info struct {
		_    [2]uint64 // the largest device number, and how many there are
		uuid [16]byte
		_    [1024 - 32]byte
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), btrfsFSInfo, uintptr(unsafe.Pointer(&info))); errno != 0 {
		return "", fmt.Errorf("reading the UUID of a btrfs: %w", errno)
	}
	u := info.uuid
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]), nil
}
