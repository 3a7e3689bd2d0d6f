//go:build root

package disk_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host/hosttest"
)

// mountAt returns what the mount table says of a mount point, and the mount's
// root, opened.
func mountAt(t *testing.T, path string) (disk.Mount, *os.File) {
	t.Helper()
	mounts, err := disk.ReadMounts(os.DirFS("/"))
	if err != nil {
		t.Fatal(err)
	}
	m, ok := mounts.At(path)
	if !ok {
		t.Fatalf("nothing is mounted at %s", path)
	}
	f, err := disk.OpenMounted(path, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return m, f
}

func TestRootFilesystemFacts(t *testing.T) {
	if _, err := exec.LookPath("blkid"); err != nil {
		t.Skip("blkid is not installed")
	}
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			m, f := mountAt(t, hosttest.NewFS(t, kind, hosttest.MinFS))
			out, err := exec.CommandContext(t.Context(), "blkid", "-p", "-s", "UUID", "-o", "value", m.Source).Output()
			if err != nil {
				t.Fatal(err)
			}
			want := strings.TrimSpace(string(out))
			if got, err := disk.FilesystemUUID(int(f.Fd()), m); err != nil || got != want {
				t.Errorf("the kernel's UUID %q, %v; want blkid's %s", got, err, want)
			}
			dev, err := os.Open(m.Source)
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			if got, err := disk.ReadSignature(dev); err != nil || got != (disk.Signature{Type: kind, UUID: want}) {
				t.Errorf("signature %+v, %v; want %s %s", got, err, kind, want)
			}
			if empty, err := disk.Empty(f); err != nil || !empty {
				t.Errorf("a fresh filesystem: empty %v, %v", empty, err)
			}
			if u, err := disk.UsageOfFD(int(f.Fd())); err != nil || u.TotalBytes < hosttest.MinFS/2 || u.TotalBytes > hosttest.MinFS {
				t.Errorf("usage %+v, %v", u, err)
			}
		})
	}
}

func TestRootTmpfsHasNoIdentity(t *testing.T) {
	dir := t.TempDir()
	hosttest.Mount(t, "tmpfs", dir, "tmpfs")
	m, f := mountAt(t, dir)
	if uuid, err := disk.FilesystemUUID(int(f.Fd()), m); uuid != "" || err != nil {
		t.Errorf("got %q, %v; want none", uuid, err)
	}
}

func TestRootMountOverIsNoticed(t *testing.T) {
	dir := t.TempDir()
	hosttest.Mount(t, "tmpfs", dir, "tmpfs")
	below, f := mountAt(t, dir)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	over, _ := mountAt(t, dir)
	if over.ID == below.ID {
		t.Fatalf("the table shows mount %d, which is hidden", below.ID)
	}
	if err := disk.CheckMount(int(f.Fd()), below); err != nil {
		t.Errorf("the directory opened before: %v", err)
	}
	if err := disk.CheckMount(int(f.Fd()), over); err == nil {
		t.Error("the hidden mount passed for the one over it")
	}
	if f, err := disk.OpenMounted(dir, below); err == nil {
		f.Close()
		t.Error("opened the mount over it in place of the hidden one")
	}
}

func TestRootEmpty(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(dir string) error
		empty bool
	}{
		{"a file", func(dir string) error { return os.WriteFile(dir+"/f", nil, 0o600) }, false},
		{"a hidden file", func(dir string) error { return os.WriteFile(dir+"/.f", nil, 0o600) }, false},
		{"something in lost+found", func(dir string) error { return os.WriteFile(dir+"/lost+found/f", nil, 0o600) }, false},
		{"lost+found is a link", func(dir string) error {
			return errors.Join(os.Remove(dir+"/lost+found"), os.Symlink("/", dir+"/lost+found"))
		}, false},
		{"lost+found is a file", func(dir string) error {
			return errors.Join(os.Remove(dir+"/lost+found"), os.WriteFile(dir+"/lost+found", nil, 0o600))
		}, false},
		{"nothing at all", func(dir string) error { return os.Remove(dir + "/lost+found") }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := hosttest.NewFS(t, "ext4", 16*hosttest.MiB)
			if err := c.make(dir); err != nil {
				t.Fatal(err)
			}
			_, f := mountAt(t, dir)
			if got, err := disk.Empty(f); err != nil || got != c.empty {
				t.Errorf("empty %v, %v; want %v", got, err, c.empty)
			}
		})
	}
}

func TestRootLoopDeviceFacts(t *testing.T) {
	path := hosttest.NewLoop(t, 8*hosttest.MiB)
	major, minor, err := disk.DeviceOf(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := disk.ReadBlock(os.DirFS("/"), major, minor)
	if err != nil || b.SizeBytes != 8*hosttest.MiB || "/dev/"+b.Name != path || b.LoopFile == "" || b.ReadOnly || b.Partition {
		t.Errorf("%s: %+v, %v", path, b, err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if ma, mi, err := disk.DeviceOfFD(int(f.Fd())); err != nil || ma != major || mi != minor {
		t.Errorf("through the descriptor: %d:%d, %v; want %d:%d", ma, mi, err, major, minor)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if ma, mi, err := disk.DeviceOf(link); err != nil || ma != major || mi != minor {
		t.Errorf("through a link: %d:%d, %v; want %d:%d", ma, mi, err, major, minor)
	}
	for _, other := range []string{"/dev/null", t.TempDir(), "/dev/no-such-device"} {
		if _, _, err := disk.DeviceOf(other); err == nil {
			t.Errorf("%s passed for a block device", other)
		}
	}
}

// watched starts a watch, does what must be announced, over and over until it
// is, and sees that the watch ends with its context.
func watched(t *testing.T, watch func(context.Context, func()) error, do func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- watch(ctx, func() {
			select {
			case seen <- struct{}{}:
			default:
			}
		})
	}()
	deadline := time.After(10 * time.Second)
	again := time.NewTicker(50 * time.Millisecond) // the watch may begin after the first
	defer again.Stop()
wait:
	for do(); ; {
		select {
		case <-seen:
			break wait
		case <-again.C:
			do()
		case err := <-ended:
			t.Fatalf("the watch ended: %v", err)
		case <-deadline:
			t.Fatal("not announced within ten seconds")
		}
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the watch ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the watch outlives its context")
	}
}

func TestRootWatchMounts(t *testing.T) {
	dir := t.TempDir()
	watched(t, disk.WatchMounts, func() {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRootWatchBlockDevices(t *testing.T) {
	watched(t, disk.WatchBlockDevices, func() { hosttest.NewLoop(t, hosttest.MiB) })
}
