//go:build root || vm

package csi_test

import (
	"context"
	"os"
	"testing"

	"github.com/berth-storage/berth/internal/csi"
)

// kubeletDir is a directory for sockets, whose paths must not be long.
func kubeletDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "k")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
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
