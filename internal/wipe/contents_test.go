package wipe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
)

// mine is options that a test needs no privilege for.
func mine() ContentsOptions {
	return ContentsOptions{Owner: disk.Owner{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Mode: 0o750}, Workers: 1}
}

// deeper is a number of levels that makes a removal move directories up.
const deeper = maxDepth + 2

// TestContentsCrash kills the wipe before and after each call to the machine,
// starts it again, and wants the same end.
func TestContentsCrash(t *testing.T) {
	named := map[string]bool{}
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			volume, precious := plant(t, deeper)
			fake := openFake(t, volume)
			fake.xattrs = []string{"user.tenant"}
			fake.fault = fault{at: at, after: after}
			_, err := contents(t.Context(), fake, mine())
			for _, name := range fake.seen {
				named[name] = true
			}
			if !fake.dead {
				// Only the faked attribute is left, which cannot be removed.
				if !errors.Is(err, ErrLeft) {
					t.Fatalf("undisturbed: %v", err)
				}
				break
			}
			if !errors.Is(err, errDead) {
				t.Fatalf("killed at call %d (%s): %v", at, fake.seen[at-1], err)
			}
			if _, err := contents(t.Context(), openFake(t, volume), mine()); err != nil {
				t.Fatalf("started again after call %d (%s): %v", at, fake.seen[at-1], err)
			}
			wiped(t, volume, precious)
		}
	}
	for _, name := range []string{"ReadOnly", "NestedMounts", "Held", "Unprotect", "Open", "Rewind", "Next", "Unlink", "Rmdir", "Move",
		"Xattrs", "RemoveXattr", "SetOwner", "Sync", "Owner"} {
		if !named[name] {
			t.Errorf("never killed at %s", name)
		}
	}
}

// TestContentsFaults: a failing call ends the wipe with its error, never with
// a volume taken for wiped.
func TestContentsFaults(t *testing.T) {
	for _, name := range []string{"ReadOnly", "NestedMounts", "Held", "Unprotect", "Open", "Rewind", "Next", "Unlink", "Rmdir", "Xattrs",
		"RemoveXattr", "SetOwner", "Sync", "Owner"} {
		t.Run(name, func(t *testing.T) {
			volume, _ := plant(t, deeper)
			fake := openFake(t, volume)
			fake.xattrs = []string{"user.tenant"}
			fake.fault = fault{name: name, err: unix.EIO}
			if _, err := contents(t.Context(), fake, mine()); !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), volume) {
				t.Errorf("error: %v, want EIO and the volume's path", err)
			}
		})
	}
}

// TestContentsRaces: a call that fails once because the entry went away does
// not end the wipe.
func TestContentsRaces(t *testing.T) {
	probe := func(f fault) (*fakeTree, string, string, error) {
		volume, precious := plant(t, deeper)
		fake := openFake(t, volume)
		fake.fault = f
		_, err := contents(t.Context(), fake, mine())
		return fake, volume, precious, err
	}
	clean, _, _, err := probe(fault{})
	if err != nil {
		t.Fatal(err)
	}
	for at, name := range clean.seen {
		var errs []error
		switch name {
		case "Unlink":
			errs = []error{unix.ENOENT, unix.ESTALE, unix.EISDIR}
		case "Rmdir":
			errs = []error{unix.ENOENT, unix.ESTALE, unix.ENOTDIR}
		case "Open":
			errs = []error{unix.ENOENT, unix.ESTALE, unix.ENOTDIR}
		case "Move":
			errs = []error{unix.ENOENT, unix.ESTALE, unix.EEXIST, unix.EXDEV, unix.ENOSPC, unix.EBUSY}
		}
		for _, fail := range errs {
			_, volume, precious, err := probe(fault{at: at + 1, err: fail})
			if err != nil {
				t.Errorf("call %d (%s) failed with %v: %v", at+1, name, fail, err)
			}
			wiped(t, volume, precious)
		}
	}
}

// TestContentsWhereNothingMoves: a filesystem too full to move a directory.
func TestContentsWhereNothingMoves(t *testing.T) {
	for _, fail := range []error{unix.ENOSPC, unix.EXDEV} {
		volume, precious := plant(t, 10*maxDepth)
		fake := openFake(t, volume)
		fake.fault = fault{name: "Move", err: fail}
		if _, err := contents(t.Context(), fake, mine()); err != nil {
			t.Error(err)
		}
		wiped(t, volume, precious)
	}
	volume, _ := plant(t, hardDepth+2)
	fake := openFake(t, volume)
	fake.fault = fault{name: "Move", err: unix.ENOSPC}
	if _, err := contents(t.Context(), fake, mine()); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("deeper than any limit: %v, want ENOSPC", err)
	}
}

func TestContentsVerifies(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(*fakeTree)
		want    error
		text    string
	}{
		"entry left":          {func(f *fakeTree) { f.hidden = "empty" }, ErrLeft, `"empty" in "."`},
		"entry stays":         {func(f *fakeTree) { f.lasting = "file" }, ErrChanging, ""},
		"attribute left":      {func(f *fakeTree) { f.xattrs = []string{"user.tenant"} }, ErrLeft, `"user.tenant" of "."`},
		"four left":           {func(f *fakeTree) { f.xattrs = []string{"user.a", "user.b", "user.c", "user.d"} }, ErrLeft, `"user.c" of "." and more`},
		"ACL left":            {func(f *fakeTree) { f.xattrs = []string{"system.posix_acl_default"} }, ErrLeft, "posix_acl_default"},
		"Berth's and SELinux": {func(f *fakeTree) { f.xattrs = []string{"trusted.berth", "security.selinux"} }, nil, ""},
		"owner not set":       {func(f *fakeTree) { f.owner = disk.Owner{Mode: 0o777} }, ErrLeft, `mode 0777 of "."`},
	} {
		t.Run(name, func(t *testing.T) {
			volume, _ := plant(t, 1)
			fake := openFake(t, volume)
			test.prepare(fake)
			_, err := contents(t.Context(), fake, mine())
			if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.text) {
				t.Errorf("error: %v, want %v with %s", err, test.want, test.text)
			}
		})
	}
}

// TestContentsEndsInTheMiddle: the context is looked at before each removal.
func TestContentsEndsInTheMiddle(t *testing.T) {
	volume := t.TempDir()
	for n := range 50 {
		if err := os.WriteFile(filepath.Join(volume, fmt.Sprint(n)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	o := mine()
	tree := &cancelling{fakeTree: openFake(t, volume), cancel: cancel, left: 10}
	result, err := contents(ctx, tree, o)
	if !errors.Is(err, context.Canceled) || result.Entries != 10 {
		t.Errorf("%v after %d entries, want Canceled after 10", err, result.Entries)
	}
	if slices.Contains(tree.seen, "Sync") {
		t.Error("went on after the cancellation")
	}
}

type cancelling struct {
	*fakeTree
	cancel context.CancelFunc
	left   int
}

func (c *cancelling) Unlink(d *host.Dir, name string) error {
	if c.left--; c.left == 0 {
		c.cancel()
	}
	return c.fakeTree.Unlink(d, name)
}

func (c *cancelling) Rmdir(d *host.Dir, name string) error {
	if c.left--; c.left == 0 {
		c.cancel()
	}
	return c.fakeTree.Rmdir(d, name)
}
