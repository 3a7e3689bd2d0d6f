//go:build root

package host

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRootBytes: what a directory takes is its blocks, those of a file with two
// names once, and not what is mounted in it or linked to from it.
func TestRootBytes(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m")) // whose directories take nothing
	t.Cleanup(func() { must(unix.Unmount(dir, 0)) })
	f, err := OpenFolder(dir, func(int) error { return nil })
	must(err)
	t.Cleanup(func() { must(f.Close()) })
	const mib = 1 << 20
	in := func(name string) string { return filepath.Join(dir, name) }
	must(os.MkdirAll(in("a/b/mounted"), 0o755))
	must(os.WriteFile(in("a/one"), make([]byte, mib), 0o600))
	must(os.Link(in("a/one"), in("a/b/again")))
	must(os.WriteFile(in("a/b/two"), make([]byte, 2*mib), 0o600))
	must(os.Truncate(in("a/b/two"), 8*mib)) // a hole takes nothing
	must(os.WriteFile(in("outside"), make([]byte, mib), 0o600))
	must(os.Symlink(in("outside"), in("a/link")))
	must(unix.Mount("tmpfs", in("a/b/mounted"), "tmpfs", 0, "size=4m"))
	t.Cleanup(func() { must(unix.Unmount(in("a/b/mounted"), 0)) })
	must(os.WriteFile(in("a/b/mounted/file"), make([]byte, mib), 0o600))
	for name, want := range map[string]int64{"a": 3 * mib, "a/one": mib, "outside": mib, "none": 0} {
		if got, err := f.Bytes(t.Context(), name); err != nil || got != want {
			t.Errorf("%s takes %d bytes (%v), want %d", name, got, err, want)
		}
	}
}
