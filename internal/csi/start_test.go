//go:build root || vm

package csi_test

import (
	"context"
	"testing"

	"github.com/berth-storage/berth/internal/csi"
)

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
