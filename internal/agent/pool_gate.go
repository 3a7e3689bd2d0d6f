package agent

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/pool"
)

// What a kind of pool may have beside pool.Pool's methods.
type (
	// mounted is on a filesystem that others can unmount.
	mounted interface {
		There() error // why the pool is not at its place any more
		Disk() string // the same for all pools that have the same space; "" for unknown
	}
	shutter  interface{ Shut() error }
	reserver interface{ SetReserve(r pool.Reserve) }
)

// errShut is what a pool answers that was closed after it was asked for.
var errShut = fmt.Errorf("the pool was closed meanwhile, and %w now; try again", pool.ErrUnfit)

// gate is an open pool that can be closed while others use it: from then on it
// answers errShut, and shut waits for the calls that were made before, so that
// the next one to open the pool is alone.
type gate struct {
	inner pool.Pool

	mu     sync.Mutex // guards the rest
	inside int        // calls under way
	closed bool
	idle   chan struct{} // closed once no call is under way any more
}

func newGate(p pool.Pool) *gate { return &gate{inner: p, idle: make(chan struct{})} }

func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errShut
	}
	g.inside++
	return nil
}

func (g *gate) exit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.closed {
		close(g.idle)
	}
}

// shut closes the pool. It is called once.
func (g *gate) shut() error {
	g.mu.Lock()
	g.closed = true
	if g.inside == 0 {
		close(g.idle)
	}
	g.mu.Unlock()
	<-g.idle
	if s, ok := g.inner.(shutter); ok {
		return s.Shut()
	}
	return nil
}

// there is an error when the pool is not at its place any more.
func (g *gate) there() error {
	if m, ok := g.inner.(mounted); ok {
		return m.There()
	}
	return nil
}

func (g *gate) disk() string {
	if m, ok := g.inner.(mounted); ok {
		return m.Disk()
	}
	return ""
}

// strangers are what others have put into the pool's directory.
func (g *gate) strangers() []pool.Stranger {
	if h, ok := g.inner.(pool.Host); ok {
		return h.Strangers()
	}
	return nil
}

// follow makes a pool that was opened with a configuration obey another, and
// returns false when it has to be opened anew for that.
func (g *gate) follow(opened, now config.Pool) bool {
	if opened.Reserve != now.Reserve {
		r, ok := g.inner.(reserver)
		if !ok {
			return false
		}
		r.SetReserve(now.Reserve)
	}
	opened.Reserve = now.Reserve
	// These are for who uses the pool.
	opened.Classes, opened.Wipe, opened.Line = now.Classes, now.Wipe, now.Line
	return reflect.DeepEqual(opened, now)
}

// Features is pool.Pool's.
func (g *gate) Features() pool.Features { return g.inner.Features() }

// through makes a call while the gate is open.
func through[T any](g *gate, call func() (T, error)) (T, error) {
	if err := g.enter(); err != nil {
		return *new(T), err
	}
	defer g.exit()
	return call()
}

// Room is pool.Pool's.
func (g *gate) Room(ctx context.Context) (pool.Room, error) {
	return through(g, func() (pool.Room, error) { return g.inner.Room(ctx) })
}

// Carve is pool.Pool's.
func (g *gate) Carve(ctx context.Context, s pool.Spec) (pool.Volume, error) {
	return through(g, func() (pool.Volume, error) { return g.inner.Carve(ctx, s) })
}

// Volumes is pool.Pool's.
func (g *gate) Volumes(ctx context.Context) ([]pool.Volume, error) {
	return through(g, func() ([]pool.Volume, error) { return g.inner.Volumes(ctx) })
}

// Grow is pool.Pool's.
func (g *gate) Grow(ctx context.Context, id pool.ID, bytes int64) (pool.Volume, error) {
	return through(g, func() (pool.Volume, error) { return g.inner.Grow(ctx, id, bytes) })
}

// Open is pool.Pool's.
func (g *gate) Open(ctx context.Context, id pool.ID) (pool.Place, error) {
	return through(g, func() (pool.Place, error) { return g.inner.Open(ctx, id) })
}

// Close is pool.Pool's.
func (g *gate) Close(ctx context.Context, id pool.ID) error {
	_, err := through(g, func() (struct{}, error) { return struct{}{}, g.inner.Close(ctx, id) })
	return err
}

// Remove is pool.Pool's.
func (g *gate) Remove(ctx context.Context, id pool.ID) error {
	_, err := through(g, func() (struct{}, error) { return struct{}{}, g.inner.Remove(ctx, id) })
	return err
}
