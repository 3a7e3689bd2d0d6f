//go:build vm

package xfs_test

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/pool/pooltest"
	"github.com/berth-storage/berth/internal/pool/xfs"
)

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// mounted makes a filesystem of 512 MiB and mounts it.
func mounted(t *testing.T, options string, mkfs ...string) string {
	run(t, "modprobe", "-a", "loop", "quota_v2") // the machine has no daemon that does
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "pool")
	run(t, "truncate", "-s", "512M", image)
	run(t, append(mkfs, image)...)
	run(t, "mkdir", at)
	run(t, "mount", "-o", "loop"+options, image, at)
	t.Cleanup(func() { run(t, "umount", at) })
	return at
}

func open(t *testing.T, path string) (pool.Pool, error) {
	f, err := host.OpenFolder(path, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return xfs.Open(t.Context(), f, pool.Reserve{})
}

func TestVMProjectQuotas(t *testing.T) {
	for name, mkfs := range map[string][]string{
		"xfs":  {"mkfs.xfs", "-q"},
		"ext4": {"mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota"},
	} {
		t.Run(name, func(t *testing.T) {
			// Making one takes longer than a part of the suite does.
			at := mounted(t, ",prjquota", mkfs...)
			pooltest.Run(t, func(t *testing.T) pooltest.Disk {
				t.Cleanup(func() { empty(t, at) })
				return pooltest.Disk{Slack: 1 << 20, Open: func(t *testing.T) pool.Pool {
					p, err := open(t, at)
					if err != nil {
						t.Fatal(err)
					}
					return p
				}}
			})
		})
	}
}

// empty removes all that a part of the suite has left.
func empty(t *testing.T, at string) {
	f, err := host.OpenFolder(at, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx := context.Background() // the part's has ended
	p, err := xfs.Open(ctx, f, pool.Reserve{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := p.Volumes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if err := errors.Join(p.Close(ctx, v.ID), p.Remove(ctx, v.ID)); err != nil {
			t.Error(err)
		}
	}
}

// TestVMWithoutQuotas: a filesystem that limits nothing is not a pool.
func TestVMWithoutQuotas(t *testing.T) {
	for _, at := range []string{t.TempDir(), mounted(t, "", "mkfs.xfs", "-q"), mounted(t, "", "mkfs.ext4", "-q")} {
		if _, err := open(t, at); !errors.Is(err, pool.ErrUnfit) {
			t.Errorf("opening %s: %v; want %v", at, err, pool.ErrUnfit)
		}
	}
}
