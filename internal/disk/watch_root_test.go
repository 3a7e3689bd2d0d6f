//go:build root

package disk

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Each change must be reported: one that is lost waits for the slow rescan.
func TestRootWatchMountsMissesNone(t *testing.T) {
	dir := t.TempDir()
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }) // after a failure, it may be mounted
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- WatchMounts(ctx, func() {
			select {
			case seen <- struct{}{}:
			default:
			}
		})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	notice := func(what string, change func() error) {
		t.Helper()
		select {
		case <-seen: // somebody else's mount
		default:
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-seen:
		case <-time.After(2 * time.Second):
			t.Fatalf("%s was not noticed", what)
		}
	}
	awaitWatch(t, dir, seen)
	for range 300 {
		notice("a mount", func() error { return unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k") })
		notice("an unmount", func() error { return unix.Unmount(dir, 0) })
	}
}

// awaitWatch changes mounts until the watch has seen one.
func awaitWatch(t *testing.T, dir string, seen <-chan struct{}) {
	t.Helper()
	for range 100 {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
			t.Fatal(err)
		}
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		select {
		case <-seen:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatal("the watch reports nothing")
}
