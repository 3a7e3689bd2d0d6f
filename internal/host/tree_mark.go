package host

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrNoXattr: the filesystem takes no such extended attribute, now or ever.
var ErrNoXattr = errors.New("takes no extended attribute")

// SetXattr gives d an extended attribute. What the filesystem refuses, as it
// knows none of that kind, is read-only or has no room, is ErrNoXattr, and so is
// the lack of the right to it.
func (t *Tree) SetXattr(d *Dir, name string, value []byte) error {
	err := unix.Fsetxattr(d.fd, name, value, 0)
	switch err {
	case nil:
		return nil
	case unix.EOPNOTSUPP, unix.EPERM, unix.EACCES, unix.EROFS, unix.ENOSPC, unix.EDQUOT, unix.E2BIG:
		return fmt.Errorf("setting extended attribute %q of %q: %w: %w", name, d.Path(), ErrNoXattr, err)
	}
	return fmt.Errorf("setting extended attribute %q of %q: %w", name, d.Path(), err)
}

// SyncDir makes d itself, its extended attributes and its names survive a loss
// of power.
func (t *Tree) SyncDir(d *Dir) error {
	if err := unix.Fsync(d.fd); err != nil {
		return fmt.Errorf("syncing directory %q: %w", d.Path(), err)
	}
	return nil
}
