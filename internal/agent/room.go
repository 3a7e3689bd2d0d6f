package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/publish"
)

// room is what a pool has left, as it was measured last.
type room struct {
	measuring sync.Mutex // held while it is measured, so that a later measure is not overtaken
	value     pool.Room  // guarded by carved.mu, as is known
	known     bool
}

// measure notes what room a pool has. Whoever has changed it calls this after.
func (c *carved) measure(ctx context.Context, name string) error {
	c.mu.Lock()
	r := c.rooms[name]
	if r == nil {
		r = &room{}
		c.rooms[name] = r
	}
	c.mu.Unlock()
	r.measuring.Lock()
	defer r.measuring.Unlock()
	p, ok := c.pools.Get(name)
	var now pool.Room
	var err error
	if ok {
		if now, err = p.Room(ctx); err != nil {
			err, ok = fmt.Errorf("measuring pool %s: %w", name, err), false
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.value, r.known = now, ok
	return err
}

func (c *carved) roomOf(name string) (pool.Room, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rooms[name]
	if r == nil {
		return pool.Room{}, false
	}
	return r.value, r.known
}

// roomChanged measures a pool's room and sees that the scheduler gets to know it.
// It waits for the pool, and not for the API server.
func (a *Agent) roomChanged(ctx context.Context, name string) {
	// One that is stopped, as a client's request may be, would leave no room to offer.
	if err := a.carved.measure(context.WithoutCancel(ctx), name); err != nil && ctx.Err() == nil {
		a.log.Warn("the room in a pool is not known, and none is offered", "pool", name, "err", err)
	}
	a.tellRoomSoon()
}

// tellRoomSoon has the scheduler told of the room: a pool's, or which classes may
// have it, may have changed. It never waits.
func (a *Agent) tellRoomSoon() {
	select {
	case a.roomDue <- struct{}{}:
	default: // whoever takes the one that is there sees this, too
	}
}

// poolChanged takes in a pool that was opened or closed, or has another reserve.
func (a *Agent) poolChanged(ctx context.Context, name string) {
	changed, err := a.carved.list(ctx, name)
	if err != nil && ctx.Err() == nil {
		a.log.Error("a pool's volumes are not known; nothing is done with them, and it is listed again", "pool", name, "err", err)
		a.running.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(poolRetry):
				a.poolChanged(ctx, name)
			}
		})
	}
	a.roomChanged(ctx, name)
	for _, r := range a.carvedIn(name) {
		changed = append(changed, r.ID)
	}
	for _, w := range a.carved.claims.All() { // one may wait for this pool
		changed = append(changed, carvedID(w.ID()))
	}
	for _, id := range changed {
		a.volumes.kick(id)
	}
}

// capacities is what room each class has on this node.
func (a *Agent) capacities() (out []publish.Capacity) {
	for name, class := range a.classes.All() {
		if class.Provisioner != api.Driver {
			continue
		}
		poolName, err := a.carved.pools.ForClass(name, class.Parameters)
		if err != nil || poolName == "" {
			continue // without an object the scheduler places nothing here
		}
		if r, known := a.carved.roomOf(poolName); known {
			out = append(out, publish.Capacity{Class: name, Free: r.Free, Largest: r.Largest})
		}
	}
	return out
}

// keepRoom tells the scheduler of each change of the pools' room, until ctx ends.
func (a *Agent) keepRoom(ctx context.Context) {
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.roomDue:
		case <-retry:
		}
		err := a.carved.told.Update(ctx, a.capacities)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			retry = nil
			a.kickGrowing()
			continue
		}
		if retry == nil {
			a.log.Warn("the scheduler could not be told what room there is; trying again", "err", err)
		}
		retry = time.After(apiRetry)
	}
}

// kickGrowing looks at the volumes whose claims ask for more than they have:
// there may be room for it now.
func (a *Agent) kickGrowing() {
	for _, w := range a.carved.claims.All() {
		if w.HasBytes > 0 && w.Bytes > w.HasBytes {
			a.volumes.kick(carvedID(w.ID()))
		}
	}
}

// tellRoom returns once the scheduler can know what room there is now.
func (a *Agent) tellRoom(ctx context.Context) error {
	_, err := limited(ctx, a, func() (struct{}, error) { return struct{}{}, a.carved.told.Renew(ctx, a.capacities) })
	return err
}
