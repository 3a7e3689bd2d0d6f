//go:build root

package csi_test

import (
	"path/filepath"
	"testing"

	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/pool/btrfs"
	"github.com/berth-storage/berth/internal/pool/dir"
)

// btrfsDir is a mounted btrfs of 4 GiB, sparse.
func btrfsDir(t *testing.T) string {
	tmp := t.TempDir()
	image, at := filepath.Join(tmp, "image"), filepath.Join(tmp, "pool")
	run(t, "truncate", "-s", "4G", image)
	run(t, "mkfs.btrfs", "-q", image)
	run(t, "mkdir", at)
	run(t, "mount", "-o", "loop", image, at)
	t.Cleanup(func() { run(t, "umount", at) })
	return at
}

// TestRootSanity: the pools that this machine can have.
func TestRootSanity(t *testing.T) {
	d, err := dir.Open(t.Context(), folder(t, t.TempDir()), true, pool.Reserve{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := btrfs.Open(t.Context(), folder(t, btrfsDir(t)), "/sys", pool.Reserve{})
	if err != nil {
		t.Fatal(err)
	}
	sane(t, map[string]pool.Pool{"dir": d, "btrfs": b})
}
