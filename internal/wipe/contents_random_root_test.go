//go:build root

package wipe_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host/hosttest"
	"github.com/berth-storage/berth/internal/wipe"
)

var treeSeed = flag.Uint64("seed", 0, "seed of the first random tree; 0 picks one")

// randomTree makes what a tenant might leave: n entries of any kind and name,
// some of which lead out of the volume or resist their removal.
func randomTree(t *testing.T, r *rand.Rand, volume, outside string, n int) {
	t.Helper()
	dirs, files := []string{volume}, []string{}
	var protected []string
	name := func() string {
		const letters = "ab .-_\n\\\"*?\x01\x7f\xc3\xa4\xff"
		b := make([]byte, 1+r.IntN(12))
		if r.IntN(20) == 0 {
			b = make([]byte, 255)
		}
		for i := range b {
			b[i] = letters[r.IntN(len(letters))]
		}
		if s := string(b); s != "." && s != ".." {
			return s
		}
		return "dots"
	}
	for range n {
		at := filepath.Join(dirs[r.IntN(len(dirs))], name())
		if r.IntN(3) == 0 {
			at = filepath.Join(dirs[len(dirs)-1], name()) // which makes some deep
		}
		if _, err := os.Lstat(at); err == nil {
			continue
		}
		var err error
		switch r.IntN(12) {
		case 0, 1, 2, 3:
			if err = unix.Mkdir(at, uint32(r.IntN(0o10000))); err == nil {
				dirs = append(dirs, at)
			}
		case 4, 5:
			err = os.WriteFile(at, make([]byte, r.IntN(10_000)), fs.FileMode(r.IntN(0o1000)))
			files = append(files, at)
		case 6:
			err = unix.Mknod(at, []uint32{unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK}[r.IntN(4)]|0o600, int(unix.Mkdev(1, 3)))
		case 7:
			err = os.Symlink([]string{outside, outside + "/dir", outside + "/file", "..", ".", "nowhere", "/", at}[r.IntN(8)], at)
		case 8:
			if len(files) > 0 {
				err = os.Link(files[r.IntN(len(files))], at)
			}
		case 9: // a file with a hole, and an attribute
			var f *os.File
			if f, err = os.Create(at); err == nil {
				err = f.Truncate(int64(r.IntN(1 << 40)))
				must(t, f.Close())
				must(t, unix.Setxattr(at, "user.x", make([]byte, r.IntN(100)), 0))
			}
		case 10:
			if len(files) > 0 {
				protected = append(protected, files[r.IntN(len(files))])
			}
		case 11:
			if d := dirs[r.IntN(len(dirs))]; d != volume {
				protected = append(protected, d)
			}
		}
		if err != nil && !strings.Contains(err.Error(), "name too long") && !strings.Contains(err.Error(), "too many links") {
			t.Fatalf("making %q: %v", at, err)
		}
	}
	slices.Sort(protected)
	for _, p := range slices.Compact(protected) { // once: what is immutable takes no other flag
		run(t, "chattr", []string{"+i", "+a"}[r.IntN(2)], "--", p)
	}
}

// digest tells any change of a tree: names, kinds, modes, sizes, times and
// bytes.
func digest(t *testing.T, root string) string {
	t.Helper()
	sum := sha256.New()
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		info, err := d.Info()
		must(t, err)
		fmt.Fprintf(sum, "%q %v %d %v\n", path, info.Mode(), info.Size(), info.ModTime())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			must(t, err)
			_, _ = sum.Write(data)
		}
		return nil
	}))
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// TestRandomTrees: of any tree nothing is left, and nothing outside is touched.
func TestRandomTrees(t *testing.T) {
	seed := *treeSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			volume := hosttest.NewFS(t, kind, hosttest.MinFS)
			outside := t.TempDir()
			write(t, filepath.Join(outside, "dir/deep/precious"), "keep me")
			write(t, filepath.Join(outside, "file"), "keep me")
			before := digest(t, outside)
			for n := range uint64(8) {
				t.Logf("-seed %d", seed+n)
				r := rand.New(rand.NewPCG(seed+n, 0))
				randomTree(t, r, volume, outside, 20+r.IntN(200))
				_, err := wipeAt(t, volume, wipe.ContentsOptions{})
				must(t, err)
				empty(t, volume)
				if digest(t, outside) != before {
					t.Fatal("something outside of the volume was changed")
				}
			}
		})
	}
}
