//go:build vm

package csi_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/pool/lvm"
	"github.com/berth-storage/berth/internal/pool/xfs"
)

// TestVMSanity: the pools that need a kernel of their own.
func TestVMSanity(t *testing.T) {
	run(t, "modprobe", "-a", "loop", "xfs", "dm-mod") // the machine has no daemon that does
	tmp := t.TempDir()
	image, at := filepath.Join(tmp, "image"), filepath.Join(tmp, "pool")
	run(t, "truncate", "-s", "4G", image)
	run(t, "mkfs.xfs", "-q", image)
	run(t, "mkdir", at)
	run(t, "mount", "-o", "loop,prjquota", image, at)
	t.Cleanup(func() { run(t, "umount", at) })
	quota, err := xfs.Open(t.Context(), folder(t, at), pool.Reserve{})
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(tmp, "disk")
	run(t, "truncate", "-s", "2G", disk)
	out, err := exec.Command("losetup", "--find", "--show", disk).Output()
	if err != nil {
		t.Fatal(err)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { run(t, "losetup", "--detach", device) })
	run(t, "vgcreate", "--quiet", "--yes", "sanity", device)
	t.Cleanup(func() { run(t, "vgremove", "--quiet", "--yes", "--force", "sanity") })
	logical, err := lvm.Open(t.Context(), lvm.Options{VolumeGroup: "sanity", Stripes: 1})
	if err != nil {
		t.Fatal(err)
	}
	sane(t, map[string]pool.Pool{"xfs": quota, "lvm": logical})
}
