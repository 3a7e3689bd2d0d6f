package host

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrNoDiscard: the device cannot deallocate blocks and guarantee that they
// read as zeroes afterwards.
var ErrNoDiscard = errors.New("the device does not guarantee zeroes after a discard")

// ErrNotBlock: the path is not a block device.
var ErrNotBlock = errors.New("is not a block device")

// A Block is a block device, held open exclusively and without the page cache:
// nothing else on this machine can mount it, claim it, or make it part of
// something as long as it is open. It belongs to one goroutine.
type Block struct {
	fd   int
	path string
	size int64
}

// OpenBlock opens the block device at path, which must not be a link. Before
// it returns, it calls check with the open descriptor, to prove that this is
// the device that the caller means; when check fails, so does OpenBlock, and
// nothing was written. A device that is mounted or claimed, or that a process
// has open for writing, is ErrBusy, with the name of who holds it as far as that
// can be seen; one that takes no writes is ErrReadOnly.
func OpenBlock(path string, check func(fd int) error) (*Block, error) {
	fd, err := openBlock(path)
	if err != nil {
		return nil, fmt.Errorf("opening device %q: %w", path, err)
	}
	var size uint64
	if err := ioctl(fd, unix.BLKGETSIZE64, &size); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("reading the size of device %q: %w", path, err)
	}
	if err := check(fd); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("checking device %q, nothing was written: %w", path, err)
	}
	return &Block{fd: fd, path: path, size: int64(size)}, nil
}

// openBlock looks what the path is before it opens it for writing, since
// opening another kind of device may do things.
func openBlock(path string) (int, error) {
	handle, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(handle)
	if err := isBlock(handle); err != nil {
		return -1, err
	}
	// The very node that was looked at, whatever has its path by now.
	const flags = unix.O_RDWR | unix.O_EXCL | unix.O_DIRECT | unix.O_CLOEXEC
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(handle), flags, 0)
	switch err {
	case nil:
	case unix.EBUSY:
		return -1, busy(handle)
	case unix.EROFS:
		return -1, ErrReadOnly
	default:
		return -1, err
	}
	// The kernel opens a read-only device for writing, and then fails writes.
	readOnly, err := unix.IoctlGetUint32(fd, unix.BLKROGET)
	if err == nil && readOnly != 0 {
		err = ErrReadOnly
	}
	if err == nil {
		err = notWritten(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func isBlock(handle int) error {
	var st unix.Stat_t
	if err := unix.Fstat(handle, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return ErrNotBlock
	}
	return nil
}

// Path is the path that the device was opened by.
func (b *Block) Path() string { return b.path }

// Size is the device's size in bytes.
func (b *Block) Size() int64 { return b.size }

// Close gives the device back.
func (b *Block) Close() error { return unix.Close(b.fd) }
