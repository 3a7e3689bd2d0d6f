//go:build root

package host_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/host/hosttest"
)

// holding starts a shell script that holds something, and returns when it says
// so. It ends with the test, or when release is called.
func holding(t *testing.T, script string, args ...string) (pid int, release func()) {
	t.Helper()
	cmd := exec.Command("unshare", append([]string{"-m", "--propagation", "private", "sh", "-c", script + "\necho ready; read line", "holder"}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	release = func() {
		in.Close()
		_ = cmd.Wait() // "read" has met the end of its input
	}
	t.Cleanup(release)
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatalf("the holder ended: %v", err)
	}
	return cmd.Process.Pid, release
}

func heldAt(t *testing.T, path string) error {
	t.Helper()
	tree, err := host.OpenTree(path, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Shut()
	return tree.Held()
}

// TestHeldTree: who has something in the volume open is named, in whatever
// mount namespace, and who has something beside it is not.
func TestHeldTree(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			base := hosttest.NewFS(t, kind, hosttest.MinFS)
			volume := filepath.Join(base, "volume")
			for _, dir := range []string{"volume/a/b", "volumes", "beside"} {
				if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, file := range []string{"volume/a/file", "beside/file"} {
				if err := os.WriteFile(filepath.Join(base, file), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			elsewhere := t.TempDir()
			for name, test := range map[string]struct {
				script string
				whole  bool // it holds the filesystem, not the directory
				part   bool // it holds the directory too
			}{
				"nothing":                         {"", false, false},
				"a file":                          {`exec 3<"$1/volume/a/file"`, true, true},
				"a file that was removed":         {`exec 3>"$1/volume/gone"; rm "$1/volume/gone"`, true, true},
				"the working directory":           {`cd "$1/volume/a/b"`, true, true},
				"the directory itself":            {`exec 3<"$1/volume"`, true, true},
				"a file beside it":                {`exec 3<"$1/beside/file"`, true, false},
				"a directory of nearly that name": {`cd "$1/volumes"`, true, false},
				"a file in another mount":         {`mount --bind "$1/volume/a" "$2"; exec 3<"$2/file"`, true, true},
				"a file beside, in another mount": {`mount --bind "$1/beside" "$2"; exec 3<"$2/file"`, true, false},
				"in a root directory of its own": {`mount --bind / "$2"; mount --bind "$1/volume/a" "$2/mnt"
					exec chroot "$2" sh -c "exec 3</mnt/file; echo ready; read line"`, true, true},
			} {
				t.Run(name, func(t *testing.T) {
					pid, release := holding(t, test.script, base, elsewhere)
					for path, want := range map[string]bool{base: test.whole, volume: test.part} {
						err := heldAt(t, path)
						if (err != nil) != want || want && (!errors.Is(err, host.ErrBusy) || !strings.Contains(err.Error(), fmt.Sprintf("process %d (sh) has ", pid))) {
							t.Errorf("%s: %v, want it held: %v", path, err, want)
						}
					}
					release()
					if err := heldAt(t, base); err != nil {
						t.Errorf("after the end of the holder: %v", err)
					}
				})
			}
		})
	}
}

// TestHeldByUnmounted: a process keeps a filesystem whose mount is in no table
// any more.
func TestHeldByUnmounted(t *testing.T) {
	volume, elsewhere := hosttest.NewFS(t, "ext4", 64*hosttest.MiB), t.TempDir()
	pid, _ := holding(t, `mount --bind "$1" "$2"; exec 3>"$2/file"; umount -l "$2"`, volume, elsewhere)
	if err := heldAt(t, volume); !errors.Is(err, host.ErrBusy) || !strings.Contains(err.Error(), fmt.Sprint("process ", pid)) {
		t.Errorf("%v, want process %d", err, pid)
	}
}

// TestHeldBlock: an exclusive open keeps nobody from writing who has the device
// open already; a reader does no harm.
func TestHeldBlock(t *testing.T) {
	device := hosttest.NewLoop(t, 16*hosttest.MiB)
	open := func() error {
		b, err := host.OpenBlock(device, func(int) error { return nil })
		if err == nil {
			err = b.Close()
		}
		return err
	}
	_, release := holding(t, `exec 3<"$1"`, device)
	if err := open(); err != nil {
		t.Errorf("with a reader: %v", err)
	}
	release()
	pid, release := holding(t, `exec 3<>"$1"`, device)
	for name, err := range map[string]error{
		"opening":   open(),
		"a command": host.RunOnBlock(t.Context(), device, func(int) error { return nil }, host.Command{Args: []string{"/bin/true"}}),
	} {
		if !errors.Is(err, host.ErrBusy) || !strings.Contains(err.Error(), fmt.Sprintf("process %d (sh) has %q open", pid, device)) {
			t.Errorf("%s with a writer: %v", name, err)
		}
	}
	release()
	if err := open(); err != nil {
		t.Errorf("after the writer's end: %v", err)
	}
}

// TestBusyBlock: the error names what holds a device.
func TestBusyBlock(t *testing.T) {
	device := hosttest.Format(t, "ext4", hosttest.NewLoop(t, 64*hosttest.MiB))
	refused := func(want string) {
		t.Helper()
		if _, err := host.OpenBlock(device, func(int) error { return nil }); !errors.Is(err, host.ErrBusy) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	t.Run("mounted", func(t *testing.T) {
		point := t.TempDir()
		hosttest.Mount(t, device, point, "ext4")
		refused(fmt.Sprintf("is mounted at %q", point))
	})
	t.Run("mounted elsewhere", func(t *testing.T) {
		_, _ = holding(t, `mount "$1" "$2"`, device, t.TempDir())
		refused("cannot be seen from here")
	})
	t.Run("claimed", func(t *testing.T) {
		fd, err := unix.Open(device, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		pid, _ := holding(t, `exec 3<"$1"`, device)
		refused(fmt.Sprintf("process %d (sh) has %q open", pid, device))
	})
}
