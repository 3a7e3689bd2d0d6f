//go:build root

package disk_test

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
)

// TestWatchMountsMissesNone mounts and unmounts one by one: an event that is
// lost is not made up for by the next one.
func TestWatchMountsMissesNone(t *testing.T) {
	const patience = 10 * time.Second
	ctx, cancel := context.WithCancel(t.Context())
	events := make(chan struct{}, 1000)
	ended := make(chan error, 1)
	go func() { ended <- disk.WatchMounts(ctx, func() { events <- struct{}{} }) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	await := func(what string, round int) {
		t.Helper()
		select {
		case <-events:
		case <-time.After(patience):
			t.Fatalf("%s %d was not noticed within %v", what, round, patience)
		}
	}
	dir := t.TempDir()
	defer unix.Unmount(dir, unix.MNT_DETACH) // an error means that nothing is mounted

	// The first one shows that the watch has begun: repeat it until it does.
	for begun := false; !begun; {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
			t.Fatal(err)
		}
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		select {
		case <-events:
			begun = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	for round := range 100 {
		for len(events) > 0 {
			<-events
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
			t.Fatal(err)
		}
		await("mount", round)
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		await("unmount", round)
	}
}
