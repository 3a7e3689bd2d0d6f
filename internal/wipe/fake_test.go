package wipe

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
)

// errDead is what each call of a machine that died returns.
var errDead = errors.New("the machine is dead")

// A fault is what happens to one call of a fake machine.
type fault struct {
	at    int    // the number of the call to break, from 1; 0 is none
	name  string // breaks every call of that name
	err   error  // what it returns; nil: the machine dies there
	after bool   // the call takes effect before it breaks

	calls int
	seen  []string // the name of each call
	dead  bool
}

// call does one named call of the machine, or breaks it.
func call[T any](f *fault, name string, do func() (T, error)) (T, error) {
	var none T
	if f.dead {
		return none, errDead
	}
	f.calls++
	f.seen = append(f.seen, name)
	if f.calls != f.at && name != f.name {
		return do()
	}
	if f.after {
		_, _ = do()
	}
	if f.err != nil {
		return none, f.err
	}
	f.dead = true
	return none, errDead
}

func call0(f *fault, name string, do func() error) error {
	_, err := call(f, name, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// fakeTree is a real directory behind calls that can break. It is for one
// worker.
type fakeTree struct {
	*host.Tree
	fault
	xattrs  []string   // added to the root's own
	hidden  string     // an entry that only the verification is shown
	lasting string     // an entry that Unlink only says it removed
	owner   disk.Owner // its mode is set instead of the right one
	synced  bool
}

func openFake(t *testing.T, path string) *fakeTree {
	t.Helper()
	tree, err := host.OpenTree(path, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Shut() })
	return &fakeTree{Tree: tree}
}

func (f *fakeTree) ReadOnly() (bool, error) { return call(&f.fault, "ReadOnly", f.Tree.ReadOnly) }
func (f *fakeTree) NestedMounts() ([]string, error) {
	return call(&f.fault, "NestedMounts", f.Tree.NestedMounts)
}

// Held looks at no process of the machine that tests run on.
func (f *fakeTree) Held() error { return call0(&f.fault, "Held", func() error { return nil }) }

func (f *fakeTree) Open(d *host.Dir, name string) (*host.Dir, error) {
	var opened *host.Dir
	child, err := call(&f.fault, "Open", func() (_ *host.Dir, err error) {
		opened, err = f.Tree.Open(d, name)
		return opened, err
	})
	if err != nil && opened != nil {
		f.Tree.Close(opened) // as the end of a process does
	}
	return child, err
}
func (f *fakeTree) Rewind(d *host.Dir) error {
	return call0(&f.fault, "Rewind", func() error { return f.Tree.Rewind(d) })
}
func (f *fakeTree) Next(d *host.Dir) ([]host.Entry, error) {
	entries, err := call(&f.fault, "Next", func() ([]host.Entry, error) { return f.Tree.Next(d) })
	var shown []host.Entry
	for _, e := range entries {
		if e.Name != f.hidden || f.synced {
			shown = append(shown, e)
		}
	}
	return shown, err
}
func (f *fakeTree) Unlink(d *host.Dir, name string) error {
	if name == f.lasting {
		return nil
	}
	return call0(&f.fault, "Unlink", func() error { return f.Tree.Unlink(d, name) })
}
func (f *fakeTree) Rmdir(d *host.Dir, name string) error {
	return call0(&f.fault, "Rmdir", func() error { return f.Tree.Rmdir(d, name) })
}
func (f *fakeTree) Move(d *host.Dir, name string, to *host.Dir, newName string) error {
	return call0(&f.fault, "Move", func() error { return f.Tree.Move(d, name, to, newName) })
}
func (f *fakeTree) Unprotect(d *host.Dir) (bool, error) {
	return call(&f.fault, "Unprotect", func() (bool, error) { return f.Tree.Unprotect(d) })
}
func (f *fakeTree) UnprotectEntry(d *host.Dir, name string) (bool, error) {
	return call(&f.fault, "UnprotectEntry", func() (bool, error) { return f.Tree.UnprotectEntry(d, name) })
}
func (f *fakeTree) Unseal(d *host.Dir) error {
	return call0(&f.fault, "Unseal", func() error { return f.Tree.Unseal(d) })
}
func (f *fakeTree) Owner(d *host.Dir) (disk.Owner, error) {
	return call(&f.fault, "Owner", func() (disk.Owner, error) { return f.Tree.Owner(d) })
}
func (f *fakeTree) SetOwner(d *host.Dir, o disk.Owner) error {
	if f.owner != (disk.Owner{}) {
		o.Mode = f.owner.Mode
	}
	return call0(&f.fault, "SetOwner", func() error { return f.Tree.SetOwner(d, o) })
}
func (f *fakeTree) Xattrs(d *host.Dir) ([]string, error) {
	names, err := call(&f.fault, "Xattrs", func() ([]string, error) { return f.Tree.Xattrs(d) })
	return append(names, f.xattrs...), err
}
func (f *fakeTree) RemoveXattr(d *host.Dir, name string) error {
	return call0(&f.fault, "RemoveXattr", func() error { return f.Tree.RemoveXattr(d, name) })
}

// Sync leaves the filesystem of the machine that tests run on alone.
func (f *fakeTree) Sync() error {
	return call0(&f.fault, "Sync", func() error { f.synced = true; return nil })
}

// plant makes what a tenant may leave: files, links out, a tree deeper than
// levels, and a sibling of it that must stay, which it returns.
func plant(t *testing.T, levels int) (volume, precious string) {
	t.Helper()
	base := t.TempDir()
	volume, precious = filepath.Join(base, "volume"), filepath.Join(base, "outside", "precious")
	deep := volume
	for n := range levels {
		deep = filepath.Join(deep, strconv.Itoa(n))
	}
	for _, dir := range []string{deep, filepath.Dir(precious), filepath.Join(volume, "empty")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{precious, filepath.Join(volume, "file"), filepath.Join(deep, "file")} {
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{filepath.Join(volume, "link"), filepath.Join(deep, "link")} {
		if err := os.Symlink(filepath.Dir(precious), link); err != nil {
			t.Fatal(err)
		}
	}
	return volume, precious
}

// wiped fails the test unless the volume is empty and the outside is whole.
func wiped(t *testing.T, volume, precious string) {
	t.Helper()
	entries, err := os.ReadDir(volume)
	if err != nil || len(entries) != 0 {
		t.Errorf("left in the volume: %v, %v", entries, err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Errorf("outside of the volume: %v", err)
	}
}
