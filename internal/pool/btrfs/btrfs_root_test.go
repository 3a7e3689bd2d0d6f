//go:build root

package btrfs_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/pool/btrfs"
	"github.com/berth-storage/berth/internal/pool/pooltest"
)

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// mounted makes a filesystem of 512 MiB and mounts it.
func mounted(t *testing.T, mkfs ...string) string {
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "pool")
	run(t, "truncate", "-s", "512M", image)
	run(t, append(mkfs, image)...)
	run(t, "mkdir", at)
	run(t, "mount", "-o", "loop", image, at)
	t.Cleanup(func() { run(t, "umount", at) })
	return at
}

func open(t *testing.T, path string) (pool.Pool, error) {
	f, err := host.OpenFolder(path, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return btrfs.Open(t.Context(), f, "/sys", pool.Reserve{})
}

func TestRootBtrfs(t *testing.T) {
	pooltest.Run(t, func(t *testing.T) pooltest.Disk {
		at := mounted(t, "mkfs.btrfs", "-q")
		return pooltest.Disk{Slack: 1 << 20, Open: func(t *testing.T) pool.Pool {
			p, err := open(t, at)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}}
	})
}

// TestRootBtrfsUnfit: a disk that cannot hold tenants to a size is not a pool.
func TestRootBtrfsUnfit(t *testing.T) {
	old := mounted(t, "mkfs.btrfs", "-q")
	run(t, "btrfs", "quota", "enable", old)
	for _, at := range []string{t.TempDir(), old} {
		if _, err := open(t, at); !errors.Is(err, pool.ErrUnfit) {
			t.Errorf("opening %s: %v; want %v", at, err, pool.ErrUnfit)
		}
	}
}

// TestRootBtrfsNested: what a tenant writes to subvolumes that it makes counts
// too, and goes with the volume.
func TestRootBtrfsNested(t *testing.T) {
	at := mounted(t, "mkfs.btrfs", "-q")
	p, err := open(t, at)
	if err != nil {
		t.Fatal(err)
	}
	const size = 32 << 20
	if _, err := p.Carve(t.Context(), pool.Spec{ID: "a", Bytes: size, Mode: pool.Filesystem}); err != nil {
		t.Fatal(err)
	}
	place, err := p.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(place.Dir, "inner")
	run(t, "btrfs", "-q", "subvolume", "create", inner)
	out, err := exec.Command("dd", "if=/dev/zero", "of="+filepath.Join(inner, "file"), "bs=1M", "count=64", "conv=fsync").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "quota") {
		t.Errorf("64 MiB went into a volume of 32: %v\n%s", err, out)
	}
	if err := p.Remove(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if r, err := p.Room(t.Context()); err != nil || r.Total-r.Free >= 4096 {
		t.Errorf("after all is removed the room is %+v (%v)", r, err)
	}
}

// TestRootBtrfsFreed: what a removed volume held can be written to the next one at
// once. The disk has no room for both.
func TestRootBtrfsFreed(t *testing.T) {
	p, err := open(t, mounted(t, "mkfs.btrfs", "-q"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []pool.ID{"a", "b", "c"} {
		fill(t, p, id)
		if err := p.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRootBtrfsFreedAfterACrash: a pool whose process died while it waited for a
// removed volume's space has that space when it opens, and not before.
func TestRootBtrfsFreedAfterACrash(t *testing.T) {
	at := mounted(t, "mkfs.btrfs", "-q")
	p, err := open(t, at)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, p, "a")
	run(t, "mv", filepath.Join(at, "a"), filepath.Join(at, ".gone-a"))
	run(t, "btrfs", "-q", "subvolume", "delete", filepath.Join(at, ".gone-a", "data"))
	if p, err = open(t, at); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("btrfs", "subvolume", "list", "-d", at).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("not free yet: %s (%v)", out, err)
	}
	fill(t, p, "b")
}

// fill carves a volume of 256 MiB and writes to nearly all of it.
func fill(t *testing.T, p pool.Pool, id pool.ID) {
	t.Helper()
	const size = 256 << 20
	if _, err := p.Carve(t.Context(), pool.Spec{ID: id, Bytes: size, Mode: pool.Filesystem}); err != nil {
		t.Fatal(err)
	}
	place, err := p.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	run(t, "dd", "if=/dev/zero", "of="+filepath.Join(place.Dir, "file"), "bs=1M", "count=255", "conv=fsync")
}
