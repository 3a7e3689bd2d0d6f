package wipe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
)

// How deep a removal goes, in directories that it holds open at a time. A
// directory below maxDepth is moved up to the root first and removed from
// there, so a tree of any depth needs few descriptors. Where a directory cannot
// leave its btrfs subvolume, it is moved up to the subvolume's top, which can
// itself be moved to the root and so is not below maxDepth. What cannot be moved
// at all, as on a full filesystem, is followed to hardDepth.
const (
	maxDepth  = 16
	hardDepth = 512
)

// maxRepeats is how often, over the whole wipe, a directory may be found not
// empty after all of its entries were removed, before the wipe gives up
// because someone keeps writing.
const maxRepeats = 10_000

// A removal empties a tree. It is used once.
type removal struct {
	tree     tree
	stop     context.CancelCauseFunc // called with the first error
	slots    chan struct{}           // taken by each goroutine beside the first
	prefix   string                  // of the names of moved directories
	seq      atomic.Int64
	moved    atomic.Int64
	repeats  atomic.Int64
	progress *Progress
}

func newRemoval(t tree, o ContentsOptions) *removal {
	return &removal{
		tree:     t,
		slots:    make(chan struct{}, o.Workers-1),
		prefix:   ".berth-wipe-" + rand.Text() + "-",
		progress: o.Progress,
	}
}

// run removes everything in the root but the directory kept, which it empties.
func (r *removal) run(ctx context.Context, kept *host.Dir) error {
	ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	for {
		seen, err := r.pass(ctx, r.tree.Root(), r.tree.Root(), 0, kept != nil)
		if err != nil {
			return err
		}
		if kept != nil {
			n, err := r.pass(ctx, kept, r.tree.Root(), 1, false)
			if err != nil {
				return err
			}
			seen += n
		}
		if seen == 0 {
			return nil
		}
		if err := r.repeat(r.tree.Root()); err != nil {
			return err
		}
	}
}

// pass removes each entry of d once and says how many it saw. The top is the
// root of d's subvolume, to which its directories can be moved.
func (r *removal) pass(ctx context.Context, d, top *host.Dir, depth int, keep bool) (seen int, err error) {
	if err := r.tree.Rewind(d); err != nil {
		return 0, r.fail(ctx, err)
	}
	var helpers sync.WaitGroup
	defer helpers.Wait()
	for {
		batch, err := r.tree.Next(d)
		if err != nil && !gone(err) {
			return seen, r.fail(ctx, err)
		}
		if len(batch) == 0 {
			break
		}
		for _, e := range batch {
			if keep && e.Name == lostFound {
				continue
			}
			seen++
			if err := r.remove(ctx, d, top, e, depth, &helpers); err != nil {
				return seen, r.fail(ctx, err)
			}
		}
	}
	helpers.Wait()
	return seen, context.Cause(ctx) // a helper's error, or the caller's end
}

// fail ends the other goroutines and returns the error that came first.
func (r *removal) fail(ctx context.Context, err error) error {
	r.stop(err)
	return context.Cause(ctx)
}

// repeat counts one more pass over d, which was not empty after the last.
func (r *removal) repeat(d *host.Dir) error {
	if r.repeats.Add(1) > maxRepeats+r.moved.Load() {
		return fmt.Errorf("emptying %q: %w", d.Path(), ErrChanging)
	}
	return nil
}

// remove takes one entry out of d, with all beneath it. It leaves to the next
// pass what changes under its hands.
func (r *removal) remove(ctx context.Context, d, top *host.Dir, e host.Entry, depth int, helpers *sync.WaitGroup) error {
	isDir := e.Dir
	denied := false
	for range 4 { // a kind that the entry had wrong, a flag, one that a helper took off, then the removal
		if err := context.Cause(ctx); err != nil {
			return err
		}
		var err error
		if isDir {
			err = r.tree.Rmdir(d, e.Name)
		} else {
			err = r.tree.Unlink(d, e.Name)
		}
		switch {
		case err == nil:
			r.progress.removed()
			return nil
		case gone(err):
			return nil
		case errors.Is(err, unix.EISDIR):
			isDir = true
		case errors.Is(err, unix.ENOTDIR):
			isDir = false
		case errors.Is(err, unix.ENOTEMPTY):
			return r.descend(ctx, d, top, e.Name, depth+1, helpers)
		case errors.Is(err, unix.EPERM):
			if cleared, flagErr := r.unprotect(d, e.Name); flagErr != nil {
				return flagErr
			} else if !cleared && denied {
				return err
			}
			// Not cleared may mean that a helper just was faster: at another name
			// of the same file, or in the same directory.
			denied = true
		case errors.Is(err, unix.EROFS):
			return fmt.Errorf("%w (%w)", err, host.ErrReadOnly)
		default:
			return err
		}
	}
	return nil
}

// unprotect clears the flags that may keep an entry where it is: the
// directory's and its own.
func (r *removal) unprotect(d *host.Dir, name string) (bool, error) {
	fromDir, err := r.tree.Unprotect(d)
	if err != nil {
		return false, err
	}
	fromEntry, err := r.tree.UnprotectEntry(d, name)
	if gone(err) {
		return true, nil
	}
	return fromDir || fromEntry, err
}

// descend empties and removes the directory of that name in d, itself or by a
// helper when one is free.
func (r *removal) descend(ctx context.Context, d, top *host.Dir, name string, depth int, helpers *sync.WaitGroup) error {
	if depth > maxDepth {
		if moved, err := r.moveUp(d, top, name); moved || err != nil && depth > hardDepth {
			return err
		}
	}
	child, err := r.tree.Open(d, name)
	if gone(err) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.tree.Subvolume(d, child) {
		if err := r.tree.Unseal(child); err != nil {
			r.tree.Close(child)
			return err
		}
		top = child
	}
	select {
	case r.slots <- struct{}{}:
		helpers.Go(func() {
			defer func() { <-r.slots }()
			defer r.tree.Close(child)
			err := host.AtIOPriority(host.LowPriority, func() error { return r.empty(ctx, d, child, top, name, depth) })
			if err != nil {
				r.stop(err)
			}
		})
		return nil
	default:
		defer r.tree.Close(child)
		return r.empty(ctx, d, child, top, name, depth)
	}
}

// empty removes child, which d has under that name, after all that is in it.
func (r *removal) empty(ctx context.Context, d, child, top *host.Dir, name string, depth int) error {
	for {
		seen, err := r.pass(ctx, child, top, depth, false)
		if err != nil {
			return err
		}
		switch err := r.tree.Rmdir(d, name); {
		case err == nil:
			r.progress.removed()
			return nil
		case !errors.Is(err, unix.ENOTEMPTY), seen == 0:
			// The name is something else by now, or has been protected. The
			// next pass of d sees what, and reports what cannot be helped.
			return nil
		}
		if err := r.repeat(child); err != nil {
			return err
		}
	}
}

// moveUp moves a directory to the tree's root, or to the top of its subvolume,
// under a name of this wipe's own.
func (r *removal) moveUp(d, top *host.Dir, name string) (moved bool, err error) {
	for _, to := range []*host.Dir{r.tree.Root(), top} {
		if to == d {
			continue
		}
		for range 3 {
			err = r.tree.Move(d, name, to, r.prefix+strconv.FormatInt(r.seq.Add(1), 10))
			if err == nil {
				r.moved.Add(1)
				return true, nil
			}
			if gone(err) {
				return true, nil
			}
			if !errors.Is(err, unix.EEXIST) {
				break
			}
		}
	}
	return false, err
}
