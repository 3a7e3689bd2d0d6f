package config

import (
	"context"
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
// change of what read returns. It returns nil when ctx is done, else why it
// cannot watch.
//
// Read tells one state of the configuration in dir from another, its absence
// included, and is called after something has happened in the directory.
// Kubernetes replaces a ConfigMap's files by swapping a link beside them, so it
// is the directory that is watched, for a single file too. While it does not
// exist, the nearest one above that does is watched. What is not seen is a
// write to the target of a link that leads out of the directory.
func Watch(ctx context.Context, dir string, read func() string, changed func()) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("watching configuration: %w", err)
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching configuration: %w", err)
	}
	defer notify.Close()
	w := &watcher{dir: dir, read: read, notify: notify}
	if err := w.follow(); err != nil {
		return err
	}
	return w.run(ctx, changed)
}

type watcher struct {
	dir     string // the directory to watch, absolute
	read    func() string
	notify  *fsnotify.Watcher
	watched string // the directory that is watched now
	state   string // what read returned when changed was last called
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
				return fmt.Errorf("watching configuration in %s: %w", w.dir, err)
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

// follow watches the directory, or the nearest one above that exists,
// and stops watching another. It looks again after each step, as a directory
// may be made while the one above it is taken up.
func (w *watcher) follow() error {
	for {
		dir := nearest(w.dir)
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
