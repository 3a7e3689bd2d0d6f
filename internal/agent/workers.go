package agent

import (
	"context"
	"sync"
	"time"

	"github.com/berth-storage/berth/internal/volume"
)

// workers runs one goroutine for each volume that has something to do, and
// never two for the same one. A volume whose disk hangs keeps its own goroutine
// and no other.
type workers struct {
	ctx     context.Context
	work    func(ctx context.Context, id volume.ID) (retry time.Duration)
	running *sync.WaitGroup

	idle *time.Timer // if set, started anew when the last volume has nothing to do any more

	mu     sync.Mutex         // guards active and timers
	active map[volume.ID]bool // true: kicked again while it runs
	timers map[volume.ID]*time.Timer
}

// idleAfter is how long after the last work the agent counts as idle.
const idleAfter = 5 * time.Second

// newWorkers returns workers that call work for each kicked volume until ctx
// ends. A work that returns a retry above 0 is called again after that time.
func newWorkers(ctx context.Context, running *sync.WaitGroup, work func(context.Context, volume.ID) time.Duration) *workers {
	return &workers{ctx: ctx, work: work, running: running, active: map[volume.ID]bool{}, timers: map[volume.ID]*time.Timer{}}
}

// kick makes sure that the volume is worked on after this moment.
func (w *workers) kick(id volume.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() != nil {
		return
	}
	if t := w.timers[id]; t != nil {
		t.Stop()
		delete(w.timers, id)
	}
	if _, ok := w.active[id]; ok {
		w.active[id] = true
		return
	}
	w.active[id] = false
	w.running.Go(func() { w.run(id) })
}

func (w *workers) run(id volume.ID) {
	for {
		retry := w.work(w.ctx, id)
		w.mu.Lock()
		if w.ctx.Err() != nil || !w.active[id] {
			delete(w.active, id)
			if len(w.active) == 0 && w.idle != nil {
				w.idle.Reset(idleAfter)
			}
			if retry > 0 && w.ctx.Err() == nil {
				w.timers[id] = time.AfterFunc(retry, func() { w.kick(id) })
			}
			w.mu.Unlock()
			return
		}
		w.active[id] = false
		w.mu.Unlock()
	}
}

// stop ends the timers, so that nothing is kicked any more.
func (w *workers) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, t := range w.timers {
		t.Stop()
		delete(w.timers, id)
	}
}

// depth is how many volumes are being worked on or wait for a retry.
func (w *workers) depth() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.active) + len(w.timers)
}
