//go:build root

package host_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
)

// TestRootFilesystems: each kind, on the smallest device that it is said to
// take. That ext4 grows is shown in a machine, TestVMGrow: a container may not
// have CAP_SYS_RESOURCE.
func TestRootFilesystems(t *testing.T) {
	for _, fsType := range host.Filesystems() {
		t.Run(fsType, func(t *testing.T) {
			d, at := made(t, fsType)
			if got, err := host.FilesystemOn(d.device); err != nil || got != fsType {
				t.Errorf("on the device is %q (%v)", got, err)
			}
			if err := host.MakeFilesystem(t.Context(), d.device, fsType, false); !errors.Is(err, host.ErrHolds) {
				t.Errorf("making another: %v; want %v", err, host.ErrHolds)
			}
			d.must(host.MakeFilesystem(t.Context(), d.device, fsType, true))
			d.must(d.mount(at, fsType))
			d.must(d.mount(at, fsType))
			if err := host.MakeFilesystem(t.Context(), d.device, fsType, true); !errors.Is(err, host.ErrBusy) {
				t.Errorf("making one on what is mounted: %v; want %v", err, host.ErrBusy)
			}
			d.must(host.GrowFilesystem(d.device, at))
			d.must(host.Unmount(at))
			if _, err := os.Lstat(at); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the mount point is still there: %v", err)
			}
			if fsType != "ext4" {
				d.grows(at, fsType)
			}
		})
	}
	if err := host.MakeFilesystem(t.Context(), "/dev/null", "ntfs", false); !errors.Is(err, host.ErrFilesystem) || !strings.Contains(err.Error(), "btrfs, ext4, xfs") {
		t.Errorf("making an NTFS: %v", err)
	}
	if err := host.MakeFilesystem(t.Context(), "/dev/null", "ext4", true); !errors.Is(err, host.ErrNotBlock) {
		t.Errorf("making one on /dev/null: %v", err)
	}
}

// TestRootMountRefused: what is not mounted leaves nothing.
func TestRootMountRefused(t *testing.T) {
	d, other := newDisk(t, 64*mib), newDisk(t, 64*mib)
	d.must(host.MakeFilesystem(t.Context(), d.device, "ext4", false))
	at := filepath.Join(t.TempDir(), "at")
	for _, c := range []struct {
		d      disk
		fsType string
		option string
		says   string
	}{
		{other, "ext4", "noatime", ""},
		{d, "xfs", "noatime", ""},
		{d, "btrfs", "noatime", ""},
		{d, "ext4", "data=nonsense", "nonsense"},
		{d, "ext4", "commit=nonsense", "nonsense"},
	} {
		err := c.d.mount(at, c.fsType, c.option)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(c.says, "nonsense") && !errors.Is(err, host.ErrMountOption) {
			t.Errorf("mounting as %s with %s: %v", c.fsType, c.option, err)
		}
		if _, err := os.Lstat(at); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after %s with %s the mount point is there", c.fsType, c.option)
		}
	}
	d.must(d.mount(at, "ext4", "noatime", "discard"))
	if err := d.mount(at, "ext4", "ro"); !errors.Is(err, host.ErrMounted) {
		t.Errorf("mounted again, read-only: %v", err)
	}
	if err := other.mount(at, "ext4"); !errors.Is(err, host.ErrBusy) {
		t.Errorf("another device at the same place: %v", err)
	}
	if err := host.GrowFilesystem(other.device, at); !errors.Is(err, host.ErrNotMounted) {
		t.Errorf("growing through another device: %v", err)
	}
	if out, err := exec.Command("grep", " "+at+" ", "/proc/self/mountinfo").Output(); err != nil || !strings.Contains(string(out), "noatime") || !strings.Contains(string(out), "discard") {
		t.Errorf("the mount is %q (%v)", out, err)
	}
}

// TestRootBarePoint: when the mount goes, nothing can be written where it was.
func TestRootBarePoint(t *testing.T) {
	d := newDisk(t, 64*mib)
	d.must(host.MakeFilesystem(t.Context(), d.device, "ext4", false))
	dir := t.TempDir()
	staged, target := filepath.Join(dir, "staged"), filepath.Join(dir, "target")
	d.must(d.mount(staged, "ext4"))
	ro, err := host.ParseMountOptions("", []string{"ro", "noexec"})
	d.must(err)
	d.must(host.Bind(staged, target, ro))
	t.Cleanup(func() { host.Unmount(target) })
	if err := os.WriteFile(filepath.Join(target, "file"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing through a read-only mount: %v", err)
	}
	d.must(host.Bind(staged, target, ro))
	if err := host.Bind(staged, target, host.MountOptions{}); !errors.Is(err, host.ErrMounted) {
		t.Errorf("bound again, to write: %v", err)
	}
	for _, at := range []string{target, staged} {
		d.must(unix.Unmount(at, 0))
		if err := os.WriteFile(filepath.Join(at, "file"), nil, 0o600); !errors.Is(err, unix.EPERM) {
			t.Errorf("writing into the bare %s: %v", at, err)
		}
		d.must(host.Unmount(at))
	}
}
