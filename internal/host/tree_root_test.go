//go:build root

package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/host/hosttest"
)

// TestTreeStaysInside: neither links, nor mounts, nor names with a way up lead
// out of a tree.
func TestTreeStaysInside(t *testing.T) {
	volume := hosttest.NewFS(t, "ext4", 64*hosttest.MiB)
	outside := t.TempDir()
	for _, dir := range []string{"dir/sub", "bound", "root"} {
		must(t, os.MkdirAll(filepath.Join(volume, dir), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(volume, "file"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(volume, "bound file"), nil, 0o600))
	must(t, os.Symlink(outside, filepath.Join(volume, "out")))
	must(t, os.Symlink("dir", filepath.Join(volume, "in")))
	must(t, os.Symlink("/proc/self/root", filepath.Join(volume, "magic")))
	must(t, unix.Mount(filepath.Join(volume, "dir"), filepath.Join(volume, "bound"), "", unix.MS_BIND, ""))
	must(t, unix.Mount("berth-test", filepath.Join(volume, "root"), "tmpfs", 0, "size=1m"))
	must(t, unix.Mount(filepath.Join(volume, "file"), filepath.Join(volume, "bound file"), "", unix.MS_BIND, ""))

	tree, err := host.OpenTree(volume, func(int) error { return nil })
	must(t, err)
	defer tree.Shut()
	for name, want := range map[string]error{
		"dir": nil, "file": unix.ENOTDIR, "out": unix.ENOTDIR, "in": unix.ENOTDIR, "magic": unix.ENOTDIR,
		"bound": host.ErrNestedMount, "root": host.ErrNestedMount, "nothing": os.ErrNotExist,
		"..": unix.EINVAL, ".": unix.EINVAL, "": unix.EINVAL, "dir/sub": unix.EINVAL, "/etc": unix.EINVAL,
	} {
		d, err := tree.Open(tree.Root(), name)
		if err == nil {
			tree.Close(d)
		}
		if !errors.Is(err, want) {
			t.Errorf("opening %q: %v, want %v", name, err, want)
		}
	}
	for name, call := range map[string]func(*host.Dir, string) error{"bound": tree.Rmdir, "root": tree.Rmdir, "bound file": tree.Unlink} {
		if err := call(tree.Root(), name); !errors.Is(err, host.ErrNestedMount) {
			t.Errorf("removing %q: %v, want ErrNestedMount", name, err)
		}
	}
	points, err := tree.NestedMounts()
	if err != nil || len(points) != 3 {
		t.Errorf("nested mounts: %q, %v; want three", points, err)
	}
	sub, err := host.OpenTree(filepath.Join(volume, "dir"), func(int) error { return nil })
	must(t, err)
	defer sub.Shut()
	if points, err := sub.NestedMounts(); err != nil || len(points) != 0 {
		t.Errorf("nested mounts of a directory beside them: %q, %v", points, err)
	}
}

// TestMoveKeeps: a name that is taken is not replaced.
func TestMoveKeeps(t *testing.T) {
	base := t.TempDir()
	for _, dir := range []string{"a/b", "taken"} {
		must(t, os.MkdirAll(filepath.Join(base, dir), 0o755))
	}
	tree, err := host.OpenTree(base, func(int) error { return nil })
	must(t, err)
	defer tree.Shut()
	a, err := tree.Open(tree.Root(), "a")
	must(t, err)
	defer tree.Close(a)
	if err := tree.Move(a, "b", tree.Root(), "taken"); !errors.Is(err, unix.EEXIST) {
		t.Errorf("error: %v, want EEXIST", err)
	}
	must(t, tree.Move(a, "b", tree.Root(), "free"))
	if _, err := os.Stat(filepath.Join(base, "free")); err != nil {
		t.Error(err)
	}
}

// TestUnprotectEntryOpensNothing: a socket cannot be opened, opening a device
// may do things, and a link's target is none of the tree's.
func TestUnprotectEntryOpensNothing(t *testing.T) {
	base := hosttest.NewFS(t, "ext4", 64*hosttest.MiB)
	in := func(name string) string { return filepath.Join(base, name) }
	must(t, unix.Mknod(in("socket"), unix.S_IFSOCK|0o600, 0))
	must(t, unix.Mknod(in("device"), unix.S_IFBLK|0o600, int(unix.Mkdev(0xfff, 1)))) // of no driver
	must(t, unix.Mkfifo(in("fifo"), 0o600))
	must(t, os.WriteFile(in("file"), nil, 0o600))
	must(t, os.Symlink("file", in("link")))
	f, err := os.Open(in("file"))
	must(t, err)
	must(t, errors.Join(unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0x10), f.Close())) // immutable
	tree, err := host.OpenTree(base, func(int) error { return nil })
	must(t, err)
	defer tree.Shut()
	for _, name := range []string{"socket", "device", "fifo", "link"} {
		if cleared, err := tree.UnprotectEntry(tree.Root(), name); cleared || err != nil {
			t.Errorf("%s: %v, %v; want nothing cleared", name, cleared, err)
		}
	}
	if cleared, err := tree.UnprotectEntry(tree.Root(), "file"); !cleared || err != nil {
		t.Errorf("file: %v, %v; want its flag cleared", cleared, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
