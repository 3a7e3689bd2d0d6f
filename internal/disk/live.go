package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DeviceOf returns the device number behind path (links are followed), which
// must be a block device.
func DeviceOf(path string) (major, minor int, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, 0, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, 0, &fs.PathError{Op: "stat", Path: path, Err: errors.New("not a block device")}
	}
	return int(unix.Major(st.Rdev)), int(unix.Minor(st.Rdev)), nil
}

// DeviceOfFD is DeviceOf for an open block device.
func DeviceOfFD(fd int) (major, minor int, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, 0, fmt.Errorf("reading device number: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, 0, errors.New("reading device number: not a block device")
	}
	return int(unix.Major(st.Rdev)), int(unix.Minor(st.Rdev)), nil
}

// ReadBlockFD is ReadBlock for an open block device.
func ReadBlockFD(sys fs.FS, fd int) (Block, error) {
	major, minor, err := DeviceOfFD(fd)
	if err != nil {
		return Block{}, err
	}
	return ReadBlock(sys, major, minor)
}

// Usage is the size of a mounted filesystem, in bytes.
type Usage struct {
	TotalBytes int64
}

// UsageOfFD returns the size of the filesystem that an open directory is on.
func UsageOfFD(fd int) (Usage, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return Usage{}, fmt.Errorf("reading filesystem size: %w", err)
	}
	return Usage{TotalBytes: int64(st.Blocks) * st.Bsize}, nil
}

// Owner is who owns a directory and what its mode is.
type Owner struct {
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	Mode uint32 `json:"mode"` // permission bits with set-id and sticky
}

// OwnerOfFD returns the owner of an open directory.
func OwnerOfFD(fd int) (Owner, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Owner{}, fmt.Errorf("reading owner: %w", err)
	}
	return Owner{UID: st.Uid, GID: st.Gid, Mode: st.Mode & 0o7777}, nil
}

// OpenMounted opens the directory at path, which must be the root of the mount
// m; another mount on the same path in the meantime is an error.
func OpenMounted(path string, m Mount) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	if err := CheckMount(fd, m); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return f, nil
}

// CheckMount returns an error unless fd is on the mount m.
func CheckMount(fd int, m Mount) error {
	id, err := mountIDOfFD(fd)
	if err == nil && id != uint64(m.ID) {
		err = fmt.Errorf("mount %d is on it now, not %d", id, m.ID)
	}
	return err
}

func mountIDOfFD(fd int) (uint64, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return 0, fmt.Errorf("reading mount id: %w", err)
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return 0, errors.New("reading mount id: the kernel does not tell it; Linux 5.8 is needed")
	}
	return st.Mnt_id, nil
}

// FilesystemIDOfFD returns the identity of what an open directory on the mount m is the
// root of, "" when it has none of its own.
func FilesystemIDOfFD(fd int, m Mount) (ID, error) {
	uuid, err := FilesystemUUID(fd, m)
	if err != nil || uuid == "" {
		return "", err
	}
	return FilesystemID(uuid, m.Root), nil
}

// uuidIoctl is FS_IOC_GETFSUUID, _IOR(0x15, 0, struct fsuuid2) of Linux
// include/uapi/linux/fs.h, since Linux 6.9.
const uuidIoctl = 0x80111500

// FilesystemUUID returns the UUID of the mounted filesystem that an open
// directory is on, "" when it has none. It asks the kernel, and where that is
// older than 6.9 it reads the superblock of the device major:minor.
func FilesystemUUID(fd int, m Mount) (string, error) {
	if m.FSType == "tmpfs" || m.FSType == "ramfs" {
		return "", nil // made anew with each mount, so it proves nothing
	}
	var arg struct {
		length uint8
		uuid   [16]byte
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uuidIoctl, uintptr(unsafe.Pointer(&arg)))
	if errno == 0 && arg.length == 16 && arg.uuid != [16]byte{} {
		return formatUUID(arg.uuid[:]), nil
	}
	if m.Major == 0 && m.FSType != "btrfs" {
		return "", nil // no device is behind it
	}
	dev, err := os.Open(m.Source)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading filesystem UUID: %w", err)
	}
	defer dev.Close()
	sig, err := ReadSignature(dev)
	if errors.Is(err, ErrNoSignature) {
		return "", nil
	}
	return sig.UUID, err
}
