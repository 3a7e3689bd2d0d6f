package agent

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/berth-storage/berth/internal/config"
)

// TestDirWatch: a name that comes is noticed, also in a directory that did not
// exist when the watch began, whose parent did not either.
func TestDirWatch(t *testing.T) {
	top := t.TempDir()
	there, missing := filepath.Join(top, "there"), filepath.Join(top, "not/yet")
	if err := os.Mkdir(there, 0o755); err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{}, 100)
	d := newDirWatch(slog.New(slog.NewTextHandler(io.Discard, nil)), func() { changed <- struct{}{} })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.run(ctx, nil) }()
	d.set([]config.Class{{Name: "a", MountDir: there}, {Name: "b", MountDir: missing}})

	// until does something again and again until the watch tells of a change:
	// when the watch has begun cannot be seen from outside.
	until := func(what string, do func()) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			do()
			select {
			case <-changed:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
		t.Fatalf("not noticed: %s", what)
	}
	touch := func(path string) func() {
		return func() {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	until("an entry in a directory", touch(filepath.Join(there, "disk")))
	if err := os.MkdirAll(missing, 0o755); err != nil {
		t.Fatal(err)
	}
	until("an entry in a directory that came later", touch(filepath.Join(missing, "disk")))
	d.set([]config.Class{{Name: "b", MountDir: missing}})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
