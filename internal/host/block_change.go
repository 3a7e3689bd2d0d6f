package host

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Discard deallocates length bytes at off, which read as zeroes from then on,
// or returns ErrNoDiscard. Offsets and lengths, here and in WriteAt and ReadAt,
// are multiples of the device's logical sector; its size is one.
//
// The guarantee is the kernel's: blkdev_fallocate in block/fops.c answers
// FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE with blkdev_issue_zeroout and
// BLKDEV_ZERO_NOFALLBACK, which has the device write zeroes, by deallocating
// where that gives zeroes, and is EOPNOTSUPP where the device cannot; it never
// falls back to a plain discard, after which a device may return anything. It
// drops the page cache of the range first, dirty pages included.
func (b *Block) Discard(off, length int64) error {
	for {
		err := unix.Fallocate(b.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
		switch err {
		case nil:
			return nil
		case unix.EINTR:
			continue
		case unix.EOPNOTSUPP, unix.ENOTTY:
			err = ErrNoDiscard
		}
		return fmt.Errorf("discarding %d bytes at %d of %q: %w", length, off, b.path, err)
	}
}

// Trim tells the device that length bytes at off are not needed any more. What
// they read as from then on is not known; nothing may rest on it.
func (b *Block) Trim(off, length int64) error {
	args := [2]uint64{uint64(off), uint64(length)}
	if err := ioctl(b.fd, unix.BLKDISCARD, &args[0]); err != nil {
		return fmt.Errorf("trimming %d bytes at %d of %q: %w", length, off, b.path, err)
	}
	return nil
}

// WriteAt writes all of buf, which must be of Aligned, at off.
func (b *Block) WriteAt(buf []byte, off int64) (int, error) {
	done := 0
	for done < len(buf) {
		n, err := again(func() (int, error) { return unix.Pwrite(b.fd, buf[done:], off+int64(done)) })
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return done, fmt.Errorf("writing at %d of %q: %w", off+int64(done), b.path, err)
		}
		done += n
	}
	return done, nil
}

// ReadAt fills buf, which must be of Aligned, from off.
func (b *Block) ReadAt(buf []byte, off int64) (int, error) {
	done := 0
	for done < len(buf) {
		n, err := again(func() (int, error) { return unix.Pread(b.fd, buf[done:], off+int64(done)) })
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return done, fmt.Errorf("reading at %d of %q: %w", off+int64(done), b.path, err)
		}
		done += n
	}
	return done, nil
}

// Sync makes all that was written survive a loss of power.
func (b *Block) Sync() error {
	if err := unix.Fsync(b.fd); err != nil {
		return fmt.Errorf("syncing %q: %w", b.path, err)
	}
	return nil
}

// DropCache writes out what others have in the device's page cache and then
// empties it, so that all see what is on the device.
func (b *Block) DropCache() error {
	if err := unix.IoctlSetInt(b.fd, unix.BLKFLSBUF, 0); err != nil {
		return fmt.Errorf("dropping the page cache of %q: %w", b.path, err)
	}
	return nil
}

// Aligned calls use with a zeroed buffer of that many bytes which direct IO
// takes. The buffer is not to be kept.
func Aligned(bytes int, use func(buf []byte) error) error {
	buf, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("allocating a buffer of %d bytes: %w", bytes, err)
	}
	defer unix.Munmap(buf)
	return use(buf)
}

// ForgetPartitions has the kernel read the device's partition table again, so
// that partitions whose table was erased are gone. A device that cannot have
// partitions is no error.
func (b *Block) ForgetPartitions() error {
	err := unix.IoctlSetInt(b.fd, unix.BLKRRPART, 0)
	if err != nil && err != unix.EINVAL && err != unix.ENOTTY {
		return fmt.Errorf("reading the partition table of device %q again: %w", b.path, err)
	}
	return nil
}
