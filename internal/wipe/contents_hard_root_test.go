//go:build root

package wipe_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/host/hosttest"
	"github.com/berth-storage/berth/internal/wipe"
)

// tooDeep is a depth that no removal reaches unless it moves directories up.
const tooDeep = 600

// TestProtectedEntries: immutable and append-only files and directories go,
// also where they keep a deep directory from being moved.
func TestProtectedEntries(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			volume := hosttest.NewFS(t, kind, hosttest.MinFS)
			in := func(name string) string { return filepath.Join(volume, name) }
			write(t, in("immutable"), "x")
			write(t, in("append"), "x")
			write(t, in("dir/sub/file"), "x")
			must(t, os.Symlink("/etc", in("dir/link")))
			must(t, unix.Mknod(in("dir/socket"), unix.S_IFSOCK|0o600, 0))
			deep := "deep" + strings.Repeat("/d", tooDeep)
			write(t, in(deep+"/file"), "x")
			run(t, "chattr", "+a", in("append"))
			run(t, "chattr", "-R", "-f", "+i", in("immutable"), in("deep"))
			run(t, "chattr", "+i", in("dir/sub/file"), in("dir/sub"), in("dir"))
			run(t, "chattr", "+a", in("."))
			_, err := wipeAt(t, volume, wipe.ContentsOptions{})
			must(t, err)
			empty(t, volume)
			write(t, in("new"), "the root takes files again")
			must(t, os.Remove(in("new")))
		})
	}
}

// TestRootAsBefore: what a tenant did to the volume's own directory goes.
func TestRootAsBefore(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			volume := hosttest.NewFS(t, kind, hosttest.MinFS)
			must(t, os.Chown(volume, 1234, 1234))
			for _, name := range []string{"user.tenant", "trusted.tenant", "trusted.berth", "trusted.berth.id", "security.selinux"} {
				must(t, unix.Setxattr(volume, name, []byte("x"), 0))
			}
			// An ACL and a default ACL of version 2: entries of tag, permissions and id.
			acl := []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 99, 0, 0, 0, 4, 0, 7, 0, 255, 255, 255, 255,
				16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255}
			for _, name := range []string{"system.posix_acl_access", "system.posix_acl_default"} {
				must(t, unix.Setxattr(volume, name, acl, 0))
			}
			must(t, unix.Chmod(volume, 0o1777))
			run(t, "chattr", "+i", volume)

			_, err := wipeAt(t, volume, wipe.ContentsOptions{Owner: disk.Owner{UID: 7, GID: 8, Mode: 0o2750}})
			must(t, err)
			var st unix.Stat_t
			must(t, unix.Stat(volume, &st))
			if st.Uid != 7 || st.Gid != 8 || st.Mode&0o7777 != 0o2750 {
				t.Errorf("the root is %d:%d %04o", st.Uid, st.Gid, st.Mode&0o7777)
			}
			buf := make([]byte, 1024)
			n, err := unix.Listxattr(volume, buf)
			must(t, err)
			names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
			slices.Sort(names)
			if !slices.Equal(names, []string{"security.selinux", "trusted.berth"}) {
				t.Errorf("extended attributes left: %q", names)
			}
			_, err = wipeAt(t, volume, wipe.ContentsOptions{})
			must(t, err)
			must(t, unix.Stat(volume, &st))
			if st.Uid != 0 || st.Gid != 0 || st.Mode&0o7777 != 0o755 {
				t.Errorf("by default the root is %d:%d %04o", st.Uid, st.Gid, st.Mode&0o7777)
			}
		})
	}
}

// TestProjects: directories of different XFS projects cannot be moved into
// each other.
func TestProjects(t *testing.T) {
	volume := hosttest.NewFS(t, "xfs", hosttest.MinFS)
	deep := filepath.Join(volume, "a")
	must(t, os.Mkdir(deep, 0o755))
	run(t, "xfs_io", "-c", "chproj 43", "-c", "chattr +P", deep)
	deepen(t, deep, tooDeep)
	run(t, "xfs_io", "-c", "chproj 42", "-c", "chattr +P", volume)
	_, err := wipeAt(t, volume, wipe.ContentsOptions{})
	must(t, err)
	empty(t, volume)
}

// TestSubvolumes: nested, deep, read-only and snapshotted ones go.
func TestSubvolumes(t *testing.T) {
	volume := hosttest.NewFS(t, "btrfs", hosttest.MinFS)
	in := func(name string) string { return filepath.Join(volume, name) }
	create := func(path string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		run(t, "btrfs", "-q", "subvolume", "create", path)
		write(t, filepath.Join(path, "file"), "x")
	}
	create(in("empty"))
	must(t, os.Remove(in("empty/file")))
	create(in("one"))
	create(in("one/two"))
	create(in("one/two/dir/three"))
	run(t, "btrfs", "-q", "subvolume", "snapshot", in("one"), in("snapshot")) // with a stub where "two" was
	run(t, "btrfs", "-q", "subvolume", "snapshot", "-r", in("one/two"), in("one/read only"))
	run(t, "btrfs", "-q", "property", "set", in("one/two/dir/three"), "ro", "true")
	create(in("deep" + strings.Repeat("/d", 30) + "/subvolume"))
	deepen(t, in("deep"+strings.Repeat("/d", 30)+"/subvolume"), 100)
	chain := in("chain")
	for range 24 {
		create(chain)
		chain = filepath.Join(chain, "s")
	}
	_, err := wipeAt(t, volume, wipe.ContentsOptions{})
	must(t, err)
	empty(t, volume)
}

// TestDeepSubvolume: a deep tree that cannot leave its subvolume.
func TestDeepSubvolume(t *testing.T) {
	volume := hosttest.NewFS(t, "btrfs", hosttest.MinFS)
	path := filepath.Join(volume, strings.Repeat("d/", 7), "subvolume")
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	run(t, "btrfs", "-q", "subvolume", "create", path)
	deepen(t, path, 10_000)
	limitFiles(t, 400)
	_, err := wipeAt(t, volume, wipe.ContentsOptions{})
	must(t, err)
	empty(t, volume)
}

// TestSparseFiles: files larger than the filesystem go, and take no time for
// what is not there.
func TestSparseFiles(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			volume := hosttest.NewFS(t, kind, hosttest.MinFS)
			for n := range 20 {
				path := write(t, filepath.Join(volume, fmt.Sprint(n)), "begin")
				must(t, os.Truncate(path, 2<<40))
				f, err := os.OpenFile(path, os.O_WRONLY, 0)
				must(t, err)
				_, err = f.WriteAt([]byte("middle"), 1<<40)
				must(t, errors.Join(err, f.Close()))
			}
			_, err := wipeAt(t, volume, wipe.ContentsOptions{})
			must(t, err)
			empty(t, volume)
		})
	}
}

// TestFullFilesystem: no room for anything, in data nor inodes.
func TestFullFilesystem(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			volume := hosttest.NewFS(t, kind, hosttest.MinFS)
			deepen(t, volume, 200)
			fillUp(t, volume)
			_, err := wipeAt(t, volume, wipe.ContentsOptions{})
			must(t, err)
			empty(t, volume)
			must(t, os.WriteFile(filepath.Join(volume, "new"), make([]byte, 1<<20), 0o600))
		})
	}
}

// fillUp writes until neither large files, nor small ones, nor names fit.
func fillUp(t *testing.T, volume string) {
	t.Helper()
	for _, size := range []int{1 << 20, 4 << 10, 0} {
		for n := 0; ; n++ {
			f, err := os.Create(filepath.Join(volume, fmt.Sprintf("%d-%d", size, n)))
			if err == nil {
				_, err = f.Write(make([]byte, size))
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				if !errors.Is(err, unix.ENOSPC) {
					t.Fatal(err)
				}
				break
			}
			if size == 0 && n == 20_000 {
				break // ext4 has inodes to spare
			}
		}
		unix.Sync()
	}
}

// TestRenamesDuringTheWipe: someone swaps directories for links out of the
// volume, and back, all the while. The outside stays whole.
func TestRenamesDuringTheWipe(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			volume := hosttest.NewFS(t, kind, hosttest.MinFS)
			outside := t.TempDir()
			for n := range 20 {
				write(t, filepath.Join(outside, fmt.Sprint("dir", n), "precious"), "keep me")
			}
			root, err := unix.Open(volume, unix.O_RDONLY|unix.O_DIRECTORY, 0)
			must(t, err)
			defer unix.Close(root)
			var stop atomic.Bool
			var swaps atomic.Int64
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for n := 0; !stop.Load(); n++ {
					dir, link := fmt.Sprint("dir", n%20), fmt.Sprint("link", n%20)
					_ = unix.Mkdirat(root, dir, 0o755)
					_ = unix.Mkdirat(root, dir+"/sub", 0o755)
					_ = unix.Mknodat(root, dir+"/precious", unix.S_IFREG|0o600, 0)
					_ = unix.Symlinkat(filepath.Join(outside, dir), root, link)
					if unix.Renameat2(root, dir, root, link, unix.RENAME_EXCHANGE) == nil {
						swaps.Add(1)
					}
				}
			}()
			// The wipe may find the volume empty for a moment, or give up; it
			// goes on until many swaps have met it.
			for swaps.Load() < 3000 {
				_, err := wipeAt(t, volume, wipe.ContentsOptions{})
				if err != nil && !errors.Is(err, wipe.ErrChanging) && !errors.Is(err, wipe.ErrLeft) {
					t.Error(err)
					break
				}
			}
			stop.Store(true)
			<-ended
			for n := range 20 {
				if b, _ := os.ReadFile(filepath.Join(outside, fmt.Sprint("dir", n), "precious")); string(b) != "keep me" {
					t.Errorf("dir%d outside of the volume lost its file", n)
				}
			}
			_, err = wipeAt(t, volume, wipe.ContentsOptions{})
			must(t, err)
			empty(t, volume)
		})
	}
}

// TestOpenedNotNamed: the volume is the directory that was opened and checked,
// whatever takes its path.
func TestOpenedNotNamed(t *testing.T) {
	base := hosttest.NewFS(t, "ext4", 64*hosttest.MiB)
	volume := filepath.Join(base, "volume")
	write(t, filepath.Join(volume, "file"), "x")
	tree, err := host.OpenTree(volume, func(int) error { return nil })
	must(t, err)
	defer tree.Shut()
	must(t, os.Rename(volume, filepath.Join(base, "moved")))
	precious := write(t, filepath.Join(volume, "precious"), "keep me")
	_, err = wipe.Contents(t.Context(), tree, wipe.ContentsOptions{})
	must(t, err)
	empty(t, filepath.Join(base, "moved"))
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}

	refused := errors.New("another volume")
	if _, err := host.OpenTree(volume, func(int) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("error: %v, want that of the check", err)
	}
	must(t, os.Symlink(volume, filepath.Join(base, "link")))
	if _, err := host.OpenTree(filepath.Join(base, "link"), func(int) error { return nil }); err == nil {
		t.Error("a link was opened as a volume")
	}
	if _, err := os.ReadFile(precious); err != nil && !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
