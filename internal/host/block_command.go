package host

import (
	"context"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// RunOnBlock runs a command that opens the block device at path, which must not
// be a link, by itself, and writes to it. Right before, it calls check with a
// descriptor of the device, to prove that this is the one that the caller
// means; when check fails, the command is not started. A device that is mounted
// or claimed is ErrBusy then; the command itself is not kept from it, nor
// others while it runs.
//
// The descriptor is held meanwhile. After a command that did well, the device is
// synced, since the command may have left its writes in the page cache, its
// partition table is read again, and check is called once more.
func RunOnBlock(ctx context.Context, path string, check func(fd int) error, c Command) error {
	handle, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening device %q: %w", path, err)
	}
	defer unix.Close(handle)
	fd, err := openShared(handle)
	if err != nil {
		return fmt.Errorf("opening device %q: %w", path, err)
	}
	b := &Block{fd: fd, path: path}
	defer b.Close()
	if err := check(fd); err != nil {
		return fmt.Errorf("checking device %q, nothing was written: %w", path, err)
	}
	if err := c.Run(ctx); err != nil {
		return err
	}
	if err := b.Sync(); err != nil {
		return err
	}
	if err := b.ForgetPartitions(); err != nil {
		return err
	}
	if err := check(fd); err != nil {
		return fmt.Errorf("checking device %q after %q: %w", path, c.Args[0], err)
	}
	return nil
}

// openShared opens a device so that others can open it too, after an exclusive
// open of the same has shown that nothing uses it.
func openShared(handle int) (int, error) {
	if err := isBlock(handle); err != nil {
		return -1, err
	}
	node := "/proc/self/fd/" + strconv.Itoa(handle)
	claimed, err := unix.Open(node, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err == unix.EBUSY {
		return -1, busy(handle)
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(claimed)
	if err := notWritten(claimed); err != nil {
		return -1, err
	}
	return unix.Open(node, unix.O_RDONLY|unix.O_CLOEXEC, 0)
}
