package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// nodePools is the node's pools.
type nodePools interface {
	// Names are those of the pools that are open, sorted.
	Names() []string
	// Get returns an open pool.
	Get(name string) (pool.Pool, bool)
	// Config returns a pool's configuration; false for one that is in none.
	Config(name string) (config.Pool, bool)
	// Unfit says why a pool is not open; nil for one that is.
	Unfit(name string) error
	// ForClass is the name of the pool that a StorageClass carves from here, ""
	// for none; an error is about the class.
	ForClass(class string, parameters map[string]string) (name string, err error)
}

// carved is what is known of volumes out of pools, besides their records.
type carved struct {
	pools  nodePools
	claims *publish.Claims
	told   told // what the scheduler knows of the room

	mu      sync.Mutex           // guards the rest
	pieces  map[volume.ID]piece  // the whole volumes of the pools that are open
	names   map[volume.ID]string // of all that were ever heard of: their IDs in the pools
	listed  map[string]bool      // pools whose volumes are in pieces
	rooms   map[string]*room     // of pools, as measured last
	changes uint64               // of pieces, by those who make and remove volumes
	turns   map[volume.ID]*turnOf
}

// piece is a volume in its pool.
type piece struct {
	pool   string
	volume pool.Volume
}

// told is what the scheduler is told of the room; *publish.Capacities.
type told interface {
	Update(ctx context.Context, room func() []publish.Capacity) error
	Renew(ctx context.Context, room func() []publish.Capacity) error
}

func newCarved(pools nodePools, claims *publish.Claims) *carved {
	return &carved{pools: pools, claims: claims, pieces: map[volume.ID]piece{}, names: map[volume.ID]string{}, listed: map[string]bool{}, rooms: map[string]*room{}, turns: map[volume.ID]*turnOf{}}
}

// note is what a pool keeps beside a volume: enough to say whose it is without a
// journal.
type note struct {
	Class  string   `json:"class,omitempty"`
	Claim  string   `json:"claim,omitempty"` // namespace/name
	UID    string   `json:"uid,omitempty"`   // the claim's
	FSType string   `json:"fsType,omitempty"`
	Modes  []string `json:"modes,omitempty"`
}

func noteOf(r volume.Record) string {
	n := note{Class: r.Class, FSType: r.Carved.FSType, Modes: r.Carved.Modes}
	if r.Claim != nil {
		n.Claim, n.UID = r.Claim.String(), r.Claim.UID
	}
	text, err := json.Marshal(n)
	if err != nil { // strings always can
		return ""
	}
	return string(text)
}

// read takes out of a note what it says; one that is not Berth's says nothing.
func (p piece) read() (n note) {
	_ = json.Unmarshal([]byte(p.volume.Note), &n) // nothing rests on it but what people are told
	return n
}

func (n note) claim() *volume.Claim {
	namespace, name, ok := strings.Cut(n.Claim, "/")
	if !ok {
		return nil
	}
	return &volume.Claim{Namespace: namespace, Name: name, UID: n.UID}
}

func carvedID(name string) volume.ID { return volume.IDOf(volume.CarvedIdentity(name)) }

// hear notes that there is, or may be, a volume of that ID in a pool.
func (c *carved) hear(name string) volume.ID {
	id := carvedID(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names[id] = name
	return id
}

// at returns a volume's piece of a pool.
func (c *carved) at(id volume.ID) (piece, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.pieces[id]
	return p, ok
}

// put takes in a volume that was made, or has grown.
func (c *carved) put(poolName string, v pool.Volume) {
	id := carvedID(string(v.ID))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	c.names[id] = string(v.ID)
	c.pieces[id] = piece{poolName, v}
}

// drop takes out a volume that was removed from its pool.
func (c *carved) drop(id volume.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	delete(c.pieces, id)
}

// list takes in all volumes of a pool, and returns those that have come, gone
// or changed. An error leaves what is known of the pool unsaid.
func (c *carved) list(ctx context.Context, name string) (changed []volume.ID, err error) {
	for again := true; again; {
		c.mu.Lock()
		began := c.changes
		c.mu.Unlock()
		var all []pool.Volume
		p, ok := c.pools.Get(name)
		if ok {
			if all, err = p.Volumes(ctx); err != nil {
				err, ok = fmt.Errorf("listing pool %s: %w", name, err), false
			}
		}
		changed, again = c.takeIn(name, all, ok, began)
	}
	return changed, err
}

// takeIn takes in a list of a pool's volumes. It reports again, and does nothing,
// where a volume was made or removed since the list was asked for.
func (c *carved) takeIn(name string, all []pool.Volume, ok bool, began uint64) (changed []volume.ID, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes != began {
		return nil, true
	}
	if c.listed[name] != ok {
		c.listed[name] = ok
		for id, at := range c.pieces { // what is said of it may change
			if at.pool == name {
				changed = append(changed, id)
			}
		}
	}
	now := map[volume.ID]piece{}
	for _, v := range all {
		id := carvedID(string(v.ID))
		c.names[id] = string(v.ID)
		now[id] = piece{name, v}
		if c.pieces[id] != now[id] {
			changed = append(changed, id)
		}
	}
	for id, before := range c.pieces {
		if _, still := now[id]; before.pool == name && !still {
			delete(c.pieces, id)
			changed = append(changed, id)
		}
	}
	for id, v := range now {
		c.pieces[id] = v
	}
	return changed, false
}

// knows reports whether a pool's volumes are known.
func (c *carved) knows(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.listed[name]
}

// all returns every volume that was heard of.
func (c *carved) all() []volume.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.names))
}

// name is a volume's ID in its pool; false for one that was never heard of.
func (c *carved) name(id volume.ID) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name, ok := c.names[id]
	return name, ok
}

// forget ends what is known of a volume that is no more.
func (c *carved) forget(id volume.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.pieces[id]; !ok {
		delete(c.names, id)
	}
}

// turnOf is the lock of those who work on one volume, kept while anybody does.
type turnOf struct {
	free  chan struct{} // has one element while nobody is at work
	users int
}

// hold keeps others from working on a volume until done is called. It waits for
// who is at work on it, at most until ctx ends.
func (c *carved) hold(ctx context.Context, id volume.ID) (done func(), err error) {
	c.mu.Lock()
	t := c.turns[id]
	if t == nil {
		t = &turnOf{free: make(chan struct{}, 1)}
		t.free <- struct{}{}
		c.turns[id] = t
	}
	t.users++
	c.mu.Unlock()
	leave := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(c.turns, id)
		}
	}
	select {
	case <-t.free:
		return func() { t.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
