package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// ErrMounted: the same is mounted there already, with other options.
var ErrMounted = errors.New("it is mounted there already, with other options")

// Bind mounts what is at source at target, with options for a mount of its own,
// all at once: there is no moment when it is writable and should not be. The
// bare target is made: a directory that is immutable, so that nothing can be
// written beneath a mount that is gone, or an empty file for a device. A mount
// of the same that is at target already stays. It needs Linux 5.12.
func Bind(source, target string, o MountOptions) error {
	if err := bind(source, target, o); err != nil {
		return fmt.Errorf("mounting %q at %q: %w", source, target, err)
	}
	return nil
}

func bind(source, target string, o MountOptions) error {
	from, err := os.Stat(source)
	if err != nil {
		return err
	}
	there, err := MountAt(target)
	if err != nil {
		return err
	}
	if there != nil {
		if at, err := os.Stat(target); err != nil || !os.SameFile(from, at) {
			return fmt.Errorf("%w: something else is mounted there", ErrBusy)
		}
		return sameOptions(there, o)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cloning: %w", err)
	}
	defer unix.Close(fd)
	if o.set|o.clear != 0 {
		a := unix.MountAttr{Attr_set: o.set, Attr_clr: o.clear &^ o.set}
		if o.clear&unix.MOUNT_ATTR__ATIME != 0 { // one choice out of three, which is made as a whole
			a.Attr_clr |= unix.MOUNT_ATTR__ATIME
		}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &a); err != nil {
			return fmt.Errorf("setting options: %w", err)
		}
	}
	return attach(fd, target, from.IsDir())
}

// attach puts a mount that is nowhere yet at its bare target.
func attach(fd int, target string, dir bool) error {
	if err := mountPoint(target, dir); err != nil {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return errors.Join(fmt.Errorf("attaching: %w", err), removeMountPoint(target))
	}
	return nil
}

// sameOptions is ErrMounted where it matters to a writer.
func sameOptions(there *mountinfo.Info, o MountOptions) error {
	readOnly := slices.Contains(strings.Split(there.Options, ","), "ro")
	if readOnly != o.ReadOnly() {
		return fmt.Errorf("%w: %s; unmount it first", ErrMounted, there.Options)
	}
	return nil
}

// MountAt is the uppermost mount whose mount point is an absolute path, nil
// where there is none, and where the path is not there.
func MountAt(path string) (*mountinfo.Info, error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path)) // not of what is mounted
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking at mount point %q: %w", path, err)
	}
	all, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(filepath.Join(dir, filepath.Base(path))))
	if err != nil {
		return nil, fmt.Errorf("reading mountinfo: %w", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all[len(all)-1], nil
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
