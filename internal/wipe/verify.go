package wipe

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
)

// namedLeft is how many of the names that are left an error tells.
const namedLeft = 3

// verifyContents reads the tree once more: nothing may be in it but an empty
// lost+found, and nothing of the tenant's may be on its root.
func verifyContents(t tree, owner disk.Owner) error {
	var left findings
	if err := left.dir(t, t.Root(), owner, t.ExtRoot()); err != nil {
		return err
	}
	if len(left.names) == 0 {
		return nil
	}
	more := ""
	if left.more {
		more = " and more"
	}
	return fmt.Errorf("%w: it has %s%s", ErrLeft, strings.Join(left.names, ", "), more)
}

// findings are the first things that should not be there.
type findings struct {
	names []string
	more  bool
}

func (f *findings) add(format string, args ...any) {
	if len(f.names) == namedLeft {
		f.more = true
		return
	}
	f.names = append(f.names, fmt.Sprintf(format, args...))
}

// dir looks at one directory: its entries, owner and extended attributes.
func (f *findings) dir(t tree, d *host.Dir, owner disk.Owner, mayKeep bool) error {
	if err := f.entries(t, d, mayKeep); err != nil {
		return err
	}
	names, err := t.Xattrs(d)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !keptXattr(name) {
			f.add("extended attribute %q of %q", name, d.Path())
		}
	}
	is, err := t.Owner(d)
	if err != nil {
		return err
	}
	if is != owner {
		f.add("owner %d:%d and mode %04o of %q", is.UID, is.GID, is.Mode, d.Path())
	}
	return nil
}

// entries reads until it has more than it can tell.
func (f *findings) entries(t tree, d *host.Dir, mayKeep bool) error {
	if err := t.Rewind(d); err != nil {
		return err
	}
	for !f.more {
		batch, err := t.Next(d)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			return nil
		}
		for _, e := range batch {
			kept := false
			if mayKeep && e.Name == lostFound {
				if kept, err = f.lostFound(t, d); err != nil {
					return err
				}
			}
			if !kept {
				f.add("%q in %q", e.Name, d.Path())
			}
		}
	}
	return nil
}

// lostFound looks into lost+found, if it is a directory.
func (f *findings) lostFound(t tree, root *host.Dir) (isDir bool, err error) {
	d, err := t.Open(root, lostFound)
	if errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer t.Close(d)
	return true, f.dir(t, d, disk.Owner{Mode: 0o700}, false)
}
