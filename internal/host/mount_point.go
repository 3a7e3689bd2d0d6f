package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

func mountPoint(target string, dir bool) error {
	var err error
	if dir {
		err = os.Mkdir(target, 0o750)
	} else {
		var f *os.File
		if f, err = os.OpenFile(target, os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600); err == nil {
			err = f.Close()
		}
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making mount point %q: %w", target, err)
	}
	if !dir {
		return nil
	}
	return immutable(target, true)
}

// immutable sets or clears the flag on a directory that nothing is mounted at.
// Filesystems without such flags, as tmpfs before Linux 6.6, go without.
func immutable(dir string, on bool) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("protecting mount point %q: %w", dir, err)
	}
	defer unix.Close(fd)
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err == nil {
		want := flags &^ flagImmutable
		if on {
			want = flags | flagImmutable
		}
		if want == flags {
			return nil
		}
		err = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, want)
	}
	if err != nil && !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("protecting mount point %q: %w", dir, err)
	}
	return nil
}

func removeMountPoint(target string) error {
	info, err := os.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.IsDir() {
		err = immutable(target, false)
	}
	if err == nil && (info.IsDir() || info.Mode().IsRegular() && info.Size() == 0) {
		err = os.Remove(target)
	}
	if err != nil {
		return fmt.Errorf("removing mount point %q: %w", target, err)
	}
	return nil
}
