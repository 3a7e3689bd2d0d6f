package wipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
)

// ContentsOptions are the choices of Contents.
type ContentsOptions struct {
	// Owner is whose the volume's directory is afterwards: what it was before
	// the first tenant. With a zero Mode it is root's, mode 0755.
	Owner disk.Owner
	// Workers is how many directories are emptied at a time; 4 when zero.
	Workers int
	// Progress, if not nil, is told how many entries were removed.
	Progress *Progress
}

const defaultWorkers = 4

// lostFound is where fsck of ext2, ext3 and ext4 puts what it finds. It is
// emptied and stays, since it is made with room that fsck relies on.
const lostFound = "lost+found"

// tree is what Contents asks of the machine; *host.Tree says what each does.
type tree interface {
	Root() *host.Dir
	Path() string
	ReadOnly() (bool, error)
	NestedMounts() ([]string, error)
	Held() error
	ExtRoot() bool
	Open(d *host.Dir, name string) (*host.Dir, error)
	Close(d *host.Dir)
	Subvolume(d, child *host.Dir) bool
	Rewind(d *host.Dir) error
	Next(d *host.Dir) ([]host.Entry, error)
	Unlink(d *host.Dir, name string) error
	Rmdir(d *host.Dir, name string) error
	Move(d *host.Dir, name string, to *host.Dir, newName string) error
	Unprotect(d *host.Dir) (bool, error)
	UnprotectEntry(d *host.Dir, name string) (bool, error)
	Unseal(d *host.Dir) error
	Owner(d *host.Dir) (disk.Owner, error)
	SetOwner(d *host.Dir, o disk.Owner) error
	Xattrs(d *host.Dir) ([]string, error)
	RemoveXattr(d *host.Dir, name string) error
	Sync() error
}

var _ tree = (*host.Tree)(nil)

// Contents removes everything in the tree, makes its root as it was before the
// first tenant, syncs, and verifies all that. It removes links and never
// follows them. A mount inside stops it with host.ErrNestedMount, if possible
// before anything is removed; so does a process that has something in it open,
// with host.ErrBusy; a read-only one is host.ErrReadOnly. On an error
// the volume is to be taken as not wiped, and the same call may be made again.
// Result is valid on an error too. It does all that at a low IO priority, and
// looks whether ctx has ended before it removes an entry.
func Contents(ctx context.Context, t *host.Tree, o ContentsOptions) (Result, error) {
	return contents(ctx, t, o)
}

func contents(ctx context.Context, t tree, o ContentsOptions) (Result, error) {
	start := time.Now()
	if o.Owner.Mode == 0 {
		o.Owner = disk.Owner{Mode: 0o755}
	}
	if o.Workers <= 0 {
		o.Workers = defaultWorkers
	}
	if o.Progress == nil {
		o.Progress = new(Progress)
	}
	o.Progress.begin(PhaseErase, 0, 0)
	err := host.AtIOPriority(host.LowPriority, func() error { return eraseContents(ctx, t, o) })
	if err != nil {
		err = fmt.Errorf("wiping %q: %w", t.Path(), err)
	}
	return Result{
		Method:   MethodContents,
		Entries:  o.Progress.Now().Entries,
		Duration: time.Since(start),
	}, err
}

func eraseContents(ctx context.Context, t tree, o ContentsOptions) error {
	if err := ready(t); err != nil {
		return err
	}
	kept, err := keptDir(t)
	if err != nil {
		return err
	}
	if kept != nil {
		defer t.Close(kept)
	}
	// First of all, because an immutable root keeps its entries, and one that
	// hands down a project takes no directory from another project.
	if _, err := t.Unprotect(t.Root()); err != nil {
		return err
	}
	if err := newRemoval(t, o).run(ctx, kept); err != nil {
		return err
	}
	if kept != nil {
		if err := reset(t, kept, disk.Owner{Mode: 0o700}); err != nil {
			return err
		}
	}
	if err := reset(t, t.Root(), o.Owner); err != nil {
		return err
	}
	if err := t.Sync(); err != nil {
		return err
	}
	return verifyContents(t, o.Owner)
}

// ready refuses a volume that cannot be wiped, before anything is done to it.
func ready(t tree) error {
	readOnly, err := t.ReadOnly()
	if err != nil {
		return err
	}
	if readOnly {
		return host.ErrReadOnly
	}
	nested, err := t.NestedMounts()
	if err != nil {
		return err
	}
	if len(nested) > 0 {
		return fmt.Errorf("%w: %q", host.ErrNestedMount, nested[0])
	}
	return t.Held()
}

// keptDir opens the directory that stays: lost+found of a filesystem that has
// its own. A tenant's link or file of that name is none.
func keptDir(t tree) (*host.Dir, error) {
	if !t.ExtRoot() {
		return nil, nil
	}
	d, err := t.Open(t.Root(), lostFound)
	if gone(err) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	return d, err
}

// reset makes a directory as it was before the first tenant.
func reset(t tree, d *host.Dir, o disk.Owner) error {
	if _, err := t.Unprotect(d); err != nil {
		return err
	}
	names, err := t.Xattrs(d)
	if err != nil {
		return err
	}
	for _, name := range names {
		if keptXattr(name) {
			continue
		}
		if err := t.RemoveXattr(d, name); err != nil {
			return err
		}
	}
	// After the ACLs, whose mask is the mode's group bits.
	return t.SetOwner(d, o)
}

// keptXattr says whether an extended attribute is the machine's or Berth's,
// not the tenant's. Berth's mark stays until the wipe is verified.
func keptXattr(name string) bool {
	return name == "security.selinux" || name == disk.MarkXattr
}

// gone says whether the entry is not there any more.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESTALE)
}
