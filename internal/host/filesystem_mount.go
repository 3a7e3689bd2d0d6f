package host

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// MountFilesystem mounts the filesystem on a block device at target, whose bare
// directory becomes immutable, as Bind's does. A filesystem that is smaller than
// its device is grown first, unless it is mounted read-only. A mount of the
// device that is at target already stays. It needs Linux 5.2.
//
// What the kernel refuses is told with the kernel's own words, and is
// ErrMountOption where an option was refused by name.
func MountFilesystem(device, target, fsType string, o MountOptions) error {
	if err := mountFilesystem(device, target, fsType, o); err != nil {
		return fmt.Errorf("mounting the %s of %q at %q: %w", fsType, device, target, err)
	}
	return nil
}

func mountFilesystem(device, target, fsType string, o MountOptions) error {
	there, err := MountAt(target)
	if err != nil {
		return err
	}
	if there != nil {
		if same, err := isOf(there.Source, device); err != nil || !same || there.FSType != fsType {
			return errors.Join(fmt.Errorf("%w: the %s of %s is mounted there", ErrBusy, there.FSType, there.Source), err)
		}
		return sameOptions(there, o)
	}
	fd, err := newMount(device, fsType, o)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !o.ReadOnly() {
		if err := growMount(fd, device, fsType); err != nil {
			return err
		}
	}
	return attach(fd, target, true)
}

// newMount is a mount that is nowhere yet.
func newMount(device, fsType string, o MountOptions) (int, error) {
	c, err := unix.Fsopen(fsType, unix.FSOPEN_CLOEXEC)
	if errors.Is(err, unix.ENODEV) {
		return -1, fmt.Errorf("this kernel has no %s; load its module", fsType)
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(c)
	if err := unix.FsconfigSetString(c, "source", device); err != nil {
		return -1, inWords(c, err)
	}
	if o.ReadOnly() {
		if err := unix.FsconfigSetFlag(c, "ro"); err != nil {
			return -1, inWords(c, err)
		}
	}
	for _, option := range o.data {
		name, value, given := strings.Cut(option, "=")
		if given {
			err = unix.FsconfigSetString(c, name, value)
		} else {
			err = unix.FsconfigSetFlag(c, name)
		}
		if err != nil {
			return -1, fmt.Errorf("%q %w: %w", option, ErrMountOption, inWords(c, err))
		}
	}
	if err := unix.FsconfigCreate(c); err != nil {
		err = inWords(c, err)
		switch {
		case errors.Is(err, unix.EBUSY):
			err = fmt.Errorf("%w: %w", ErrBusy, err)
		case errors.Is(err, unix.EUCLEAN), errors.Is(err, unix.EBADMSG):
			err = fmt.Errorf("%w: the filesystem is damaged; run fsck.%s or xfs_repair on the device while it is not mounted", err, fsType)
		case errors.Is(err, unix.EINVAL) && len(o.data) > 0:
			err = fmt.Errorf("%q %w together, or the filesystem is damaged: %w", strings.Join(o.data, ","), ErrMountOption, err)
		}
		return -1, err
	}
	fd, err := unix.Fsmount(c, unix.FSMOUNT_CLOEXEC, int(o.set))
	if err != nil {
		return -1, inWords(c, err)
	}
	return fd, nil
}

// inWords joins an error with what the kernel has to say about it: fsopen's
// descriptor gives a message a read, which begins with its level.
func inWords(c int, err error) error {
	buf := make([]byte, 512)
	for {
		n, readErr := unix.Read(c, buf)
		if readErr != nil || n < 2 {
			return err
		}
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(buf[2:n])))
	}
}

// isOf reports whether a mount's source is that device, by whatever name.
func isOf(source, device string) (bool, error) {
	var want, got unix.Stat_t
	if err := unix.Stat(device, &want); err != nil {
		return false, fmt.Errorf("looking at device %q: %w", device, err)
	}
	if err := unix.Stat(source, &got); err != nil {
		return false, nil // what was mounted has gone
	}
	return got.Mode&unix.S_IFMT == unix.S_IFBLK && got.Rdev == want.Rdev, nil
}
