//go:build root

package csi_test

import (
	"context"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/berth-storage/berth/internal/csi"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/pool/btrfs"
	"github.com/berth-storage/berth/internal/pool/dir"
)

// one is a node with one pool.
type one struct{ pool.Pool }

func (one) Names() []string { return []string{"disks"} }

func (o one) Get(name string) (pool.Pool, bool) { return o.Pool, name == "disks" }

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func folder(t *testing.T, path string) *host.Folder {
	f, err := host.OpenFolder(path, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

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

// serve serves a pool and returns the address.
func serve(t *testing.T, p pool.Pool) string {
	socket := filepath.Join(t.TempDir(), "csi.sock")
	s := &csi.Server{Driver: "berth.storage", Version: "test", Node: "node-1", Pools: one{p}, Log: slog.New(slog.DiscardHandler)}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, socket) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "unix:" + socket
}

// TestRootSanity is the conformance suite of the CSI project, for directories
// and raw devices out of each pool that this machine can have.
func TestRootSanity(t *testing.T) {
	var pools []pool.Pool
	for _, kind := range []struct {
		name string
		open func() (pool.Pool, error)
	}{
		{"dir", func() (pool.Pool, error) { return dir.Open(t.Context(), folder(t, t.TempDir()), true, pool.Reserve{}) }},
		{"btrfs", func() (pool.Pool, error) {
			return btrfs.Open(t.Context(), folder(t, btrfsDir(t)), "/sys", pool.Reserve{})
		}},
	} {
		p, err := kind.open()
		if err != nil {
			t.Fatal(err)
		}
		pools = append(pools, p)
		address := serve(t, p)
		for _, access := range []string{"mount", "block"} {
			tmp := t.TempDir()
			c := sanity.NewTestConfig()
			c.Address = address
			c.TargetPath, c.StagingPath = filepath.Join(tmp, "target"), filepath.Join(tmp, "staging")
			c.TestVolumeSize, c.TestVolumeExpandSize = 64<<20, 128<<20
			c.TestVolumeAccessType = access
			ginkgo.Describe(kind.name+" "+access, func() { sanity.GinkgoTest(&c) })
		}
	}
	gomega.RegisterFailHandler(ginkgo.Fail)
	ginkgo.RunSpecs(t, "CSI")
	for _, p := range pools {
		if left, err := p.Volumes(t.Context()); err != nil || len(left) > 0 {
			t.Errorf("the suite has left %v (%v)", left, err)
		}
	}
}
