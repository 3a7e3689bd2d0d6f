package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"

	"github.com/fsnotify/fsnotify"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
)

const configSubject = "config"

// reload reads the configuration and takes it over when it is good. A bad one
// is reported, and the one in force stays.
func (a *Agent) reload(ctx context.Context, source Source, dirs *dirWatch) {
	have, synced := a.classes.Names()
	if !synced {
		return // the first list of StorageClasses triggers the next look
	}
	cfg, notes, err := source.Load()
	var missing error
	if err == nil {
		missing = cfg.MissingClasses(have, source.String())
	}
	if before := a.config(); err == nil && before != nil {
		err = cfg.MovedPools(before, func(name string) string { return a.inPool(ctx, name) }, source.String())
	}
	if !a.standIn {
		err = errors.Join(err, missing)
	}
	if err != nil {
		a.metrics.configValid.Set(0)
		a.reports.set(configSubject, api.ReasonConfigRefused, fmt.Sprintf("the configuration is refused%s: %v", stays(a.config()), err))
		return
	}
	a.metrics.configValid.Set(1)
	if missing != nil {
		a.reports.set(configSubject, api.ReasonConfigRefused, fmt.Sprintf("a class of the configuration cannot be published, the others can: %v", missing))
	} else {
		a.reports.clear(configSubject)
	}
	a.reportLostPools(cfg)
	if reflect.DeepEqual(a.config(), cfg) {
		a.pools.check() // should a mount event have been missed
		return
	}
	before := a.current.Swap(cfg)
	a.metrics.generation.Inc()
	dirs.set(cfg.Classes)
	a.pools.set(ctx, cfg.Pools)
	a.tellRoomSoon()
	a.log.Info("configuration in force", "source", source.String(), "classes", len(cfg.Classes), "pools", len(cfg.Pools))
	for _, note := range notes {
		a.log.Warn(note, "source", source.String())
	}
	a.sayWhatIsLeft(before, cfg)
	a.kickAll()
}

// sayWhatIsLeft tells of the classes that the new configuration has no more:
// nobody looks after their volumes any longer.
func (a *Agent) sayWhatIsLeft(before, now *config.Agent) {
	if before == nil {
		return
	}
	left := map[string]int{}
	for _, c := range before.Classes {
		if !slices.ContainsFunc(now.Classes, func(n config.Class) bool { return n.Name == c.Name }) {
			left[c.Name] = 0
		}
	}
	for _, r := range a.journal.All() {
		if _, ok := left[r.Class]; ok && r.PV.UID != "" {
			left[r.Class]++
		}
	}
	for class, pvs := range left {
		a.log.Warn("a class was taken out of the configuration; its PersistentVolumes are left alone", "class", class, "pvs", pvs)
	}
}

func stays(cfg *config.Agent) string {
	if cfg == nil {
		return ", and there is no earlier one"
	}
	return "; the last good one stays in force"
}

// dirWatch watches the discovery directories for names that come and go. For a
// directory that does not exist it watches the nearest parent that does.
type dirWatch struct {
	log     *slog.Logger
	changed func()
	renewed chan struct{}

	mu   sync.Mutex // guards want
	want []string
}

func newDirWatch(log *slog.Logger, changed func()) *dirWatch {
	return &dirWatch{log: log, changed: changed, renewed: make(chan struct{}, 1)}
}

// set says which classes' directories to watch from now on.
func (d *dirWatch) set(classes []config.Class) {
	d.mu.Lock()
	d.want = d.want[:0]
	for _, c := range classes {
		d.want = append(d.want, c.MountDir)
	}
	d.mu.Unlock()
	select {
	case d.renewed <- struct{}{}:
	default:
	}
}

// run watches until ctx ends.
func (d *dirWatch) run(ctx context.Context, _ func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching discovery directories: %w", err)
	}
	defer w.Close()
	d.follow(w)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.renewed:
			d.follow(w)
		case err := <-w.Errors: // some events were lost
			d.log.Debug("watching discovery directories", "err", err)
			d.follow(w)
			d.changed()
		case e := <-w.Events:
			if e.Op == fsnotify.Chmod || e.Op == fsnotify.Write {
				continue
			}
			if !d.inside(e.Name) { // a directory or a parent of one has come or gone
				d.follow(w)
			}
			d.changed()
		}
	}
}

// inside reports whether name is an entry of a discovery directory.
func (d *dirWatch) inside(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.want, filepath.Dir(name))
}

// follow makes the watcher watch what is wanted and nothing else.
func (d *dirWatch) follow(w *fsnotify.Watcher) {
	d.mu.Lock()
	want := map[string]bool{}
	for _, dir := range d.want {
		for ; ; dir = filepath.Dir(dir) {
			want[dir] = true
			if st, err := os.Stat(dir); err == nil && st.IsDir() || dir == "/" {
				break
			}
			delete(want, dir)
		}
	}
	d.mu.Unlock()
	for _, dir := range w.WatchList() {
		if !want[dir] {
			if err := w.Remove(dir); err != nil {
				d.log.Debug("watching discovery directories", "dir", dir, "err", err)
			}
		}
	}
	for dir := range want { // again for one that is watched: it may be a new directory of that name
		if err := w.Add(dir); err != nil {
			d.log.Warn("a discovery directory cannot be watched; the slow rescan sees it", "dir", dir, "err", err)
		}
	}
}
