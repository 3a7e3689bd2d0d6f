//go:build root

package wipe_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/host/hosttest"
	"github.com/berth-storage/berth/internal/wipe"
)

var kinds = []string{"ext4", "xfs", "btrfs"}

// wipeAt opens the directory and wipes it.
func wipeAt(t *testing.T, path string, o wipe.ContentsOptions) (wipe.Result, error) {
	t.Helper()
	tree, err := host.OpenTree(path, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Shut()
	return wipe.Contents(t.Context(), tree, o)
}

// empty fails the test unless the directory has nothing but lost+found.
func empty(t *testing.T, path string) {
	t.Helper()
	for _, e := range list(t, path) {
		if e != "lost+found" {
			t.Errorf("%q is left in %q", e, path)
		}
	}
}

func list(t *testing.T, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(path)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// run runs a command and returns what it prints. The test is skipped if the
// command is not installed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("running %s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// TestEveryKindOfEntry: whatever a tenant can leave behind goes, and nothing
// outside is touched through it.
func TestEveryKindOfEntry(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			volume := hosttest.NewFS(t, kind, hosttest.MinFS)
			outside := t.TempDir()
			precious := write(t, filepath.Join(outside, "dir", "precious"), "keep me")
			in := func(name string) string { return filepath.Join(volume, name) }

			must(t, os.Symlink(filepath.Join(outside, "dir"), in("link to directory")))
			must(t, os.Symlink(precious, in("link to file")))
			must(t, os.Symlink("nowhere", in("broken link")))
			must(t, os.Symlink("..", in("up")))
			must(t, unix.Mkfifo(in("fifo"), 0o600))
			must(t, unix.Mknod(in("null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
			must(t, unix.Mknod(in("loop0"), unix.S_IFBLK|0o600, int(unix.Mkdev(7, 0))))
			socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: in("socket"), Net: "unix"})
			must(t, err)
			socket.SetUnlinkOnClose(false)
			must(t, socket.Close())
			for _, name := range []string{" ", "new\nline", "\xff\xfe", "...", "-rf", strings.Repeat("x", 255)} {
				write(t, in(name), "x")
				write(t, in("sub/"+name+"/file"), "x")
			}
			must(t, os.Link(in("-rf"), in("second link")))
			must(t, os.MkdirAll(in("closed/in"), 0o755))
			must(t, os.Chmod(in("closed"), 0))
			if kind == "ext4" {
				write(t, in("lost+found/#12"), "x")
				must(t, os.Chmod(in("lost+found"), 0o777))
			}

			var progress wipe.Progress
			result, err := wipeAt(t, volume, wipe.ContentsOptions{Progress: &progress})
			must(t, err)
			empty(t, volume)
			if result.Entries < 24 || result.Entries != progress.Now().Entries || result.Method != wipe.MethodContents {
				t.Errorf("result: %+v, progress %+v", result, progress.Now())
			}
			if b, err := os.ReadFile(precious); string(b) != "keep me" {
				t.Errorf("outside of the volume: %q, %v", b, err)
			}
			if kind == "ext4" {
				info, err := os.Lstat(in("lost+found"))
				must(t, err)
				if info.Mode() != os.ModeDir|0o700 || len(list(t, in("lost+found"))) != 0 {
					t.Errorf("lost+found: mode %v, with %q", info.Mode(), list(t, in("lost+found")))
				}
			}
		})
	}
}

func TestNestedMountStopsTheWipe(t *testing.T) {
	volume := hosttest.NewFS(t, "ext4", 64*hosttest.MiB)
	write(t, filepath.Join(volume, "a/file"), "x")
	nested := filepath.Join(volume, "a/b c/nested")
	must(t, os.MkdirAll(nested, 0o755))
	hosttest.Mount(t, hosttest.Format(t, "ext4", hosttest.NewLoop(t, 16*hosttest.MiB)), nested, "ext4")
	kept := write(t, filepath.Join(nested, "precious"), "keep me")

	_, err := wipeAt(t, volume, wipe.ContentsOptions{})
	if !errors.Is(err, host.ErrNestedMount) || !strings.Contains(err.Error(), nested) {
		t.Errorf("error: %v, want ErrNestedMount with the path", err)
	}
	if b, err := os.ReadFile(kept); string(b) != "keep me" {
		t.Errorf("beneath the nested mount: %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(volume, "a/file")); err != nil {
		t.Errorf("something was removed although the mount was known before: %v", err)
	}
}

// TestBoundDirectoryStopsTheWipe: a bind mount of the same filesystem is another mount too.
func TestBoundDirectoryStopsTheWipe(t *testing.T) {
	volume := hosttest.NewFS(t, "ext4", 64*hosttest.MiB)
	kept := write(t, filepath.Join(volume, "outside/precious"), "keep me")
	root := filepath.Join(volume, "volume")
	must(t, os.MkdirAll(filepath.Join(root, "bound"), 0o755))
	must(t, unix.Mount(filepath.Join(volume, "outside"), filepath.Join(root, "bound"), "", unix.MS_BIND, ""))
	file := write(t, filepath.Join(root, "file"), "")
	if _, err := wipeAt(t, root, wipe.ContentsOptions{}); !errors.Is(err, host.ErrNestedMount) {
		t.Errorf("error: %v, want ErrNestedMount", err)
	}
	must(t, unix.Unmount(filepath.Join(root, "bound"), 0))
	must(t, unix.Mount(kept, file, "", unix.MS_BIND, ""))
	if _, err := wipeAt(t, root, wipe.ContentsOptions{}); !errors.Is(err, host.ErrNestedMount) {
		t.Errorf("error: %v, want ErrNestedMount", err)
	}
	if b, err := os.ReadFile(kept); string(b) != "keep me" {
		t.Errorf("outside: %q, %v", b, err)
	}
}

func TestReadOnlyMount(t *testing.T) {
	for _, names := range [][]string{{"file"}, nil} {
		volume := hosttest.NewFS(t, "xfs", hosttest.MinFS)
		for _, name := range names {
			write(t, filepath.Join(volume, name), "x")
		}
		must(t, unix.Mount("", volume, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		if _, err := wipeAt(t, volume, wipe.ContentsOptions{}); !errors.Is(err, host.ErrReadOnly) {
			t.Errorf("error: %v, want ErrReadOnly", err)
		}
		if got := list(t, volume); !slices.Equal(got, names) {
			t.Errorf("%q is left of %q", got, names)
		}
	}
}

// TestDeepTree: 10,000 levels, in few descriptors.
func TestDeepTree(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			volume := hosttest.NewFS(t, kind, hosttest.MinFS)
			deepen(t, volume, 10_000)
			limitFiles(t, 400)
			result, err := wipeAt(t, volume, wipe.ContentsOptions{})
			must(t, err)
			empty(t, volume)
			if result.Entries < 10_000 {
				t.Errorf("%d entries removed", result.Entries)
			}
		})
	}
}

// deepen makes a chain of directories, and a file beside every hundredth.
func deepen(t *testing.T, path string, levels int) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	for n := range levels {
		must(t, unix.Mkdirat(fd, "directory", 0o755))
		if n%100 == 0 {
			must(t, unix.Mknodat(fd, "beside", unix.S_IFREG|0o600, 0))
		}
		next, err := unix.Openat(fd, "directory", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		must(t, err)
		must(t, unix.Close(fd))
		fd = next
	}
	must(t, unix.Close(fd))
}

// limitFiles lets this process have few open files until the test ends.
func limitFiles(t *testing.T, n uint64) {
	t.Helper()
	var before unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: before.Max}))
	t.Cleanup(func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &before)) })
}

// TestWideTree: one directory with many files, and many directories.
// BERTH_WIPE_FILES is how many files there are, by default 100,000; a million
// with "make test-faults".
func TestWideTree(t *testing.T) {
	files := 100_000
	if s := os.Getenv("BERTH_WIPE_FILES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1000 {
			t.Fatalf("found BERTH_WIPE_FILES=%q; allowed: a whole number from 1000", s)
		}
		files = n - n%1000
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			// ext4 has an inode for each 16 KiB.
			volume := hosttest.NewFS(t, kind, max(hosttest.MinFS, int64(files)*20<<10))
			fill(t, filepath.Join(volume, "one"), files/2)
			for n := range files / 1000 {
				fill(t, filepath.Join(volume, "many", fmt.Sprint(n)), 500)
			}
			result, err := wipeAt(t, volume, wipe.ContentsOptions{})
			must(t, err)
			empty(t, volume)
			if want := int64(files + files/1000 + 2); result.Entries != want {
				t.Errorf("%d entries removed, want %d", result.Entries, want)
			}
			t.Logf("%d entries in %v: %.0f a second", result.Entries, result.Duration.Round(time.Millisecond),
				float64(result.Entries)/result.Duration.Seconds())
		})
	}
}

// fill makes empty files.
func fill(t *testing.T, dir string, files int) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	defer unix.Close(fd)
	for n := range files {
		must(t, unix.Mknodat(fd, fmt.Sprintf("file with a name of usual length %d", n), unix.S_IFREG|0o600, 0))
	}
}

func TestCancelled(t *testing.T) {
	volume := hosttest.NewFS(t, "ext4", 64*hosttest.MiB)
	write(t, filepath.Join(volume, "file"), "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tree, err := host.OpenTree(volume, func(int) error { return nil })
	must(t, err)
	defer tree.Shut()
	if _, err := wipe.Contents(ctx, tree, wipe.ContentsOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v, want Canceled", err)
	}
	if !slices.Contains(list(t, volume), "file") {
		t.Error("something was removed after the cancellation")
	}
}
