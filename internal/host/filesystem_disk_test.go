//go:build root || vm

package host_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/host/hosttest"
)

const mib = hosttest.MiB

// A disk is a device that can grow.
type disk struct {
	*testing.T
	image, device string
}

func newDisk(t *testing.T, bytes int64) disk {
	d := disk{T: t, image: filepath.Join(t.TempDir(), "image")}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, bytes); err != nil {
		t.Fatal(err)
	}
	d.device = d.losetup("-f", "--show", d.image)
	t.Cleanup(func() { d.losetup("-d", d.device) })
	return d
}

func (d disk) losetup(args ...string) string {
	d.Helper()
	out, err := exec.Command("losetup", args...).CombinedOutput()
	if err != nil {
		d.Fatalf("losetup %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (d disk) grow(bytes int64) {
	d.Helper()
	d.must(os.Truncate(d.image, bytes))
	d.losetup("-c", d.device)
}

func (d disk) mount(at, fsType string, options ...string) error {
	o, err := host.ParseMountOptions(fsType, options)
	if err == nil {
		err = host.MountFilesystem(d.device, at, fsType, o)
	}
	if err == nil {
		d.Cleanup(func() { host.Unmount(at) })
	}
	return err
}

// bytes is what is promised to a filesystem's users, and to itself.
func (d disk) bytes(at string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		d.Error(err)
	}
	return int64(st.Blocks) * st.Bsize
}

func (d disk) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

// made is the smallest device with a filesystem, and where to mount it.
func made(t *testing.T, fsType string) (d disk, at string) {
	least, err := host.MinFilesystem(fsType)
	d = newDisk(t, least)
	d.must(err)
	d.must(host.MakeFilesystem(t.Context(), d.device, fsType, false))
	return d, filepath.Join(t.TempDir(), "at")
}

// grows grows a new filesystem while it is mounted and while it is not, to sizes
// that are no multiple of anything.
func (d disk) grows(at, fsType string) {
	least, err := host.MinFilesystem(fsType)
	d.must(err)
	d.must(d.mount(at, fsType))
	d.must(os.WriteFile(filepath.Join(at, "kept"), []byte("x"), 0o600))
	for _, more := range []int64{4096, 5 * mib, 128*mib + 4096, 200*mib - 4096, 400 * mib} {
		before := d.bytes(at)
		d.grow(least + more)
		d.must(host.GrowFilesystem(d.device, at))
		d.must(host.GrowFilesystem(d.device, at))
		if got := d.bytes(at); got < before || more == 400*mib && got < least+more*3/4 {
			d.Errorf("with a device of %d it has %d bytes, before %d", least+more, got, before)
		}
	}
	d.must(host.Unmount(at))
	before := least + 400*mib
	d.grow(least + 600*mib)
	d.must(d.mount(at, fsType, "ro"))
	if got := d.bytes(at); got > before {
		d.Errorf("mounted read-only it has grown to %d", got)
	}
	d.must(host.Unmount(at))
	d.must(d.mount(at, fsType))
	if got := d.bytes(at); got < before+100*mib {
		d.Errorf("mounted on a device of %d it has %d bytes", least+600*mib, got)
	}
	if b, err := os.ReadFile(filepath.Join(at, "kept")); err != nil || string(b) != "x" {
		d.Errorf("the file is %q (%v)", b, err)
	}
	d.must(host.Unmount(at))
}
