package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// loopSector is the sector size that a file's device gets, in bytes: what the
// filesystems beneath use, so that direct IO is always possible.
const loopSector = 4096

// loopTries is how often a free device is asked for while others take it first.
const loopTries = 100

// AttachLoop puts a block device over the file at path, with direct IO, and
// returns the device's path. A file that has such a device already keeps it. The
// file must not be a link.
func AttachLoop(path string) (device string, err error) {
	if device, err = findLoop(path); device != "" || err != nil {
		return device, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_DIRECT, 0)
	if err != nil {
		return "", fmt.Errorf("attaching %q: %w", path, err)
	}
	defer file.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("attaching %q: %w", path, err)
	}
	defer control.Close()
	for range loopTries {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", fmt.Errorf("attaching %q: finding a free loop device: %w", path, err)
		}
		device = "/dev/loop" + strconv.Itoa(n)
		err = configureLoop(device, file)
		if errors.Is(err, unix.EBUSY) {
			continue // somebody else was faster
		}
		if err != nil {
			return "", fmt.Errorf("attaching %q to %s: %w", path, device, err)
		}
		return device, nil
	}
	return "", fmt.Errorf("attaching %q: %s is free, but others hold it, or were faster, %d times: %w", path, device, loopTries, ErrBusy)
}

func configureLoop(device string, file *os.File) error {
	loop, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer loop.Close()
	c := unix.LoopConfig{Fd: uint32(file.Fd()), Size: loopSector}
	c.Info.Flags = unix.LO_FLAGS_DIRECT_IO
	return unix.IoctlLoopConfigure(int(loop.Fd()), &c)
}

// DetachLoop takes the device over the file at path away. A file without one is
// no error; one whose device is open or mounted is ErrBusy.
func DetachLoop(path string) error {
	device, err := findLoop(path)
	if device == "" || err != nil {
		return err
	}
	// Exclusively, since the kernel would put the end off until the last user is
	// gone, and say that all is well.
	loop, err := os.OpenFile(device, os.O_RDWR|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("detaching %s from %q: %w", device, path, ErrBusy)
	}
	if err != nil {
		return fmt.Errorf("detaching %s from %q: %w", device, path, err)
	}
	defer loop.Close()
	if err := unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_CLR_FD, 0); err != nil {
		return fmt.Errorf("detaching %s from %q: %w", device, path, err)
	}
	return nil
}

// GrowLoop tells the device over the file at path, if there is one, that the
// file has grown.
func GrowLoop(path string) error {
	device, err := findLoop(path)
	if device == "" || err != nil {
		return err
	}
	loop, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("growing %s: %w", device, err)
	}
	defer loop.Close()
	if err := unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("growing %s: %w", device, err)
	}
	return nil
}

// findLoop returns the device over a file, found by the file's own inode, as
// paths differ between mount namespaces; empty if there is none.
func findLoop(path string) (string, error) {
	var want unix.Stat_t
	if err := unix.Lstat(path, &want); err != nil {
		return "", fmt.Errorf("looking for the loop device of %q: %w", path, err)
	}
	used, err := filepath.Glob("/sys/block/loop*/loop")
	if err != nil {
		return "", err
	}
	for _, dir := range used {
		device := "/dev/" + filepath.Base(filepath.Dir(dir))
		loop, err := os.Open(device)
		if err != nil {
			continue // it has gone meanwhile
		}
		info, err := unix.IoctlLoopGetStatus64(int(loop.Fd()))
		loop.Close()
		if err == nil && info.Inode == want.Ino && info.Device == want.Dev {
			return device, nil
		}
	}
	return "", nil
}
