//go:build root || vm

package csi_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/berth-storage/berth/internal/csi"
	"github.com/berth-storage/berth/internal/pool"
)

// serve serves a node's pool and returns the kubelet's directory.
func serve(t *testing.T, o *one) (kubeletDir string) {
	kubeletDir = t.TempDir()
	s := &csi.Server{Driver: "berth.storage", Version: "test", Node: "node-1", Pools: o, Keeper: o, Log: slog.New(slog.DiscardHandler)}
	start(t, s, kubeletDir)
	return kubeletDir
}

// start serves until the test ends, or until stop.
func start(t *testing.T, s *csi.Server, kubeletDir string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, kubeletDir) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// sane runs the conformance suite of the CSI project on pools, each with
// directories or filesystems, and with raw devices.
func sane(t *testing.T, pools map[string]pool.Pool) {
	for name, p := range pools {
		address := "unix:" + csi.SocketPath(serve(t, newOne(p)), "berth.storage")
		for _, access := range []string{"mount", "block"} {
			tmp := t.TempDir()
			c := sanity.NewTestConfig()
			c.Address = address
			c.TargetPath, c.StagingPath = filepath.Join(tmp, "target"), filepath.Join(tmp, "staging")
			c.TestVolumeSize, c.TestVolumeExpandSize = 64<<20, 128<<20
			c.TestVolumeAccessType = access
			ginkgo.Describe(name+" "+access, func() { sanity.GinkgoTest(&c) })
		}
	}
	gomega.RegisterFailHandler(ginkgo.Fail)
	ginkgo.RunSpecs(t, "CSI")
	for name, p := range pools {
		if left, err := p.Volumes(t.Context()); err != nil || len(left) > 0 {
			t.Errorf("the suite has left %v in %s (%v)", left, name, err)
		}
	}
}
