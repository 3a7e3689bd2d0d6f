//go:build vm

package csi_test

import (
	"path/filepath"
	"testing"

	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/pool/dir"
	"github.com/berth-storage/berth/internal/pool/xfs"
)

// TestVMSanity: the pools that need a kernel of their own, and one of devices,
// whose ext4 only a machine grows.
func TestVMSanity(t *testing.T) {
	run(t, "modprobe", "-a", "loop", "xfs") // the machine has no daemon that does
	tmp := t.TempDir()
	image, at := filepath.Join(tmp, "image"), filepath.Join(tmp, "pool")
	run(t, "truncate", "-s", "4G", image)
	run(t, "mkfs.xfs", "-q", image)
	run(t, "mkdir", at)
	run(t, "mount", "-o", "loop,prjquota", image, at)
	t.Cleanup(func() { run(t, "umount", at) })
	for _, sub := range []string{"quota", "devices"} {
		run(t, "mkdir", filepath.Join(at, sub))
	}
	quota, err := xfs.Open(t.Context(), folder(t, filepath.Join(at, "quota")), pool.Reserve{})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := dir.Open(t.Context(), folder(t, filepath.Join(at, "devices")), true, pool.Reserve{})
	if err != nil {
		t.Fatal(err)
	}
	sane(t, map[string]pool.Pool{"xfs": quota, "devices": &devices{Pool: plain}})
}
