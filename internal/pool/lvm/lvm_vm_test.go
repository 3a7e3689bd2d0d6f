//go:build vm

package lvm_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/pool/lvm"
	"github.com/berth-storage/berth/internal/pool/pooltest"
)

const mib = 1 << 20

func run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "LVM_SUPPRESS_FD_WARNINGS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// group makes a volume group of disks of these sizes in MiB, one of which LVM
// uses itself, with extents of 1 MiB. Where content is given, the disks are full
// of it.
func group(t *testing.T, name string, content byte, sizes ...int) (disks []string) {
	t.Helper()
	run(t, "modprobe", "-a", "loop", "dm-mod", "dm-thin-pool") // the machine has no daemon that does
	dir := t.TempDir()
	for i, size := range sizes {
		image := filepath.Join(dir, name+string(rune('a'+i)))
		err := os.WriteFile(image, nil, 0o600)
		if content == 0 {
			err = errors.Join(err, os.Truncate(image, int64(size)*mib)) // which takes no memory
		} else {
			err = errors.Join(err, os.WriteFile(image, bytes.Repeat([]byte{content}, size*mib), 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
		disk := run(t, "losetup", "--find", "--show", image)
		t.Cleanup(func() { run(t, "losetup", "--detach", disk) })
		disks = append(disks, disk)
	}
	run(t, append([]string{"vgcreate", "--quiet", "--yes", "--physicalextentsize", "1m", name}, disks...)...)
	t.Cleanup(func() { run(t, "vgremove", "--quiet", "--yes", "--force", name) })
	return disks
}

func open(t *testing.T, o lvm.Options) *lvm.Pool {
	t.Helper()
	p, err := lvm.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// parts gives each part of the suite the same volume group, emptied and erased.
func parts(t *testing.T, o lvm.Options) {
	pooltest.Run(t, func(t *testing.T) pooltest.Disk {
		t.Cleanup(func() {
			run(t, "lvremove", "--quiet", "--yes", "--config", "devices{issue_discards=1}", "--select", "lv_tags=berth.storage", o.VolumeGroup)
		})
		return pooltest.Disk{Open: func(t *testing.T) pool.Pool { return open(t, o) }}
	})
}

func TestVMThick(t *testing.T) {
	t.Parallel()
	group(t, "thick", 0, 155, 148)
	parts(t, lvm.Options{VolumeGroup: "thick"})
}

func TestVMThin(t *testing.T) {
	t.Parallel()
	group(t, "thin", 0, 320)
	run(t, "lvcreate", "--quiet", "--type", "thin-pool", "--size", "300m", "--poolmetadatasize", "4m", "--name", "pool", "thin")
	parts(t, lvm.Options{VolumeGroup: "thin", Thin: &lvm.Thin{Pool: "pool"}})
}

func TestVMUnfitNames(t *testing.T) {
	run(t, "modprobe", "dm-mod")
	_, err := lvm.Open(t.Context(), lvm.Options{VolumeGroup: "none"})
	if !errors.Is(err, pool.ErrUnfit) || !strings.Contains(err.Error(), "vgcreate") {
		t.Errorf("error: %v", err)
	}
}
