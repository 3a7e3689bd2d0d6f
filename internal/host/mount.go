package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// ErrMountOption: a mount option that is not allowed here.
var ErrMountOption = errors.New("is not a mount option that can be used")

// flags of mounts that a bind mount can have of its own: mount(2), the
// per-mount-point flags.
var bindFlags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "rw": 0, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
	"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME,
	"suid": 0, "dev": 0, "exec": 0, "atime": 0, "defaults": 0,
}

// BindFlags turns mount options into what Bind takes. One that a bind mount
// cannot have is ErrMountOption.
func BindFlags(options []string) (flags uintptr, err error) {
	for _, o := range options {
		f, ok := bindFlags[o]
		if !ok {
			return 0, fmt.Errorf("%q %w; allowed: ro, rw, nosuid, nodev, noexec, noatime, nodiratime, relatime, defaults", o, ErrMountOption)
		}
		flags |= f
	}
	return flags, nil
}

// Bind mounts what is at source at target, with flags of BindFlags. The bare
// target is made: a directory that is immutable, so that nothing can be written
// beneath a mount that is gone, or an empty file for a device. A mount of the
// same that is at target already stays, with these flags.
func Bind(source, target string, flags uintptr) error {
	from, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("mounting %q: %w", source, err)
	}
	mounted, err := mountinfo.Mounted(target)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("mounting %q: %w", target, err)
	}
	if !mounted {
		if err := mountPoint(target, from.IsDir()); err != nil {
			return err
		}
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			return errors.Join(fmt.Errorf("mounting %q at %q: %w", source, target, err), removeMountPoint(target))
		}
	} else if at, err := os.Stat(target); err != nil || !os.SameFile(from, at) {
		return fmt.Errorf("mounting %q at %q: %w: something else is mounted there", source, target, ErrBusy)
	}
	if flags == 0 {
		return nil
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|flags, ""); err != nil {
		return errors.Join(fmt.Errorf("mounting %q at %q: %w", source, target, err), Unmount(target))
	}
	return nil
}

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

// Unmount takes away what is mounted at target, and the bare target. A target
// where nothing is mounted, or that is not there, is no error; one with files in
// it is left as it is.
func Unmount(target string) error {
	for {
		mounted, err := mountinfo.Mounted(target)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unmounting %q: %w", target, err)
		}
		if !mounted {
			return removeMountPoint(target)
		}
		switch err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW); err {
		case nil:
		case unix.EBUSY:
			return fmt.Errorf("unmounting %q: %w", target, ErrBusy)
		default:
			return fmt.Errorf("unmounting %q: %w", target, err)
		}
	}
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

// MountsOf lists where the directory or file at path, with what is in it, is
// mounted on its own in this mount namespace. It touches no filesystem.
func MountsOf(path string) ([]string, error) {
	all, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("reading mountinfo: %w", err)
	}
	var on *mountinfo.Info
	for _, m := range all { // a later one at the same place hides the earlier
		if inside(path, m.Mountpoint) && (on == nil || len(m.Mountpoint) >= len(on.Mountpoint)) {
			on = m
		}
	}
	if on == nil {
		return nil, fmt.Errorf("no mount holds %q", path)
	}
	root := filepath.Join(on.Root, strings.TrimPrefix(path, on.Mountpoint))
	var at []string
	for _, m := range all {
		if m.Major == on.Major && m.Minor == on.Minor && inside(m.Root, root) {
			at = append(at, m.Mountpoint)
		}
	}
	return at, nil
}

// inside reports whether a clean path is dir or in it.
func inside(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
