package config

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A change has settled when nothing has moved for settle, or after settleMost
// when something moves all the time.
const (
	settle     = 100 * time.Millisecond
	settleMost = 2 * time.Second
)

// Watch calls changed once when it has begun to watch, so that nothing is lost
// between an earlier reading and the watch, and then once for each settled
// change of the file's content, its appearing and its vanishing included. It
// returns nil when ctx is done, else why it cannot watch.
//
// It watches the file's directory and not the file, as Kubernetes replaces a
// ConfigMap's files by swapping a link beside them. While the directory does
// not exist it watches the nearest one above that does. What it does not see
// is a write to the target of a link that leads out of the directory.
func Watch(ctx context.Context, file string, changed func()) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return fmt.Errorf("watching configuration: %w", err)
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching configuration: %w", err)
	}
	defer notify.Close()
	w := &watcher{file: file, notify: notify}
	if err := w.follow(); err != nil {
		return err
	}
	return w.run(ctx, changed)
}

type watcher struct {
	file    string
	notify  *fsnotify.Watcher
	watched string // the directory that is watched now
	state   state  // the file as changed was last called for
}

// state is what tells one content of the file from another.
type state struct {
	exists bool
	sum    [sha256.Size]byte
}

func (w *watcher) run(ctx context.Context, changed func()) error {
	w.state = w.read()
	changed()
	quiet := time.NewTimer(settle) // a first look again: follow may have raced with a swap
	defer quiet.Stop()
	var since time.Time // when the present unrest began; zero while it is quiet
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.notify.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("watching configuration %s: %w", w.file, err)
			}
			quiet.Reset(settle)
		case event := <-w.notify.Events:
			if event.Name == w.watched && event.Has(fsnotify.Remove|fsnotify.Rename) {
				w.watched = ""
			}
			if since.IsZero() {
				since = time.Now()
			}
			quiet.Reset(min(settle, time.Until(since.Add(settleMost))))
		case <-quiet.C:
			since = time.Time{}
			if err := w.follow(); err != nil {
				return err
			}
			if now := w.read(); now != w.state {
				w.state = now
				changed()
			}
		}
	}
}

// follow watches the file's directory, or the nearest one above that exists,
// and stops watching another. It looks again after each step, as a directory
// may be made while the one above it is taken up.
func (w *watcher) follow() error {
	for {
		dir := nearest(filepath.Dir(w.file))
		if dir == w.watched {
			return nil
		}
		err := w.notify.Add(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("watching configuration directory %s: %w", dir, err)
		}
		if w.watched != "" {
			// The directory may be gone, and its watch with it.
			_ = w.notify.Remove(w.watched)
		}
		w.watched = dir
	}
}

func nearest(dir string) string {
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

func (w *watcher) read() state {
	data, err := os.ReadFile(w.file)
	if err != nil {
		return state{}
	}
	return state{exists: true, sum: sha256.Sum256(data)}
}
