package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/volume"
)

// poolPatience is how long a pool may take to say what is in it, where somebody
// waits for that.
const poolPatience = 2 * time.Second

// carvedIn returns the journal's records of volumes out of a pool, by the
// volumes' IDs.
func (a *Agent) carvedIn(name string) []volume.Record {
	var list []volume.Record
	for _, r := range a.journal.All() {
		if r.Carved != nil && r.Carved.Pool == name {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(x, y volume.Record) int { return strings.Compare(x.Entry, y.Entry) })
	return list
}

// expectedIn returns the volumes that are in a pool for certain, if it is the
// one that it was: while one is being carved, or erased, it may be there or not.
func (a *Agent) expectedIn(name string) (ids []pool.ID) {
	for _, r := range a.carvedIn(name) {
		switch r.State {
		case volume.Published, volume.Used, volume.Quarantined, volume.Returning:
			ids = append(ids, pool.ID(r.Entry))
		}
	}
	return ids
}

// inPool says what is in a pool, "" for nothing, by the journal and by the pool
// itself. A pool that does not answer has something in it; of one that is not
// open the journal alone tells.
func (a *Agent) inPool(ctx context.Context, name string) string {
	if list := a.carvedIn(name); len(list) > 0 {
		return someVolumes(len(list), list[0].Entry)
	}
	p, open := a.pools.Get(name)
	if !open {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, poolPatience)
	defer cancel()
	volumes, err := answer(ctx, p.Volumes)
	switch {
	case err != nil:
		return fmt.Sprintf("volumes, or does not tell that it has none (%v)", err)
	case len(volumes) == 0:
		return ""
	}
	return someVolumes(len(volumes), string(volumes[0].ID))
}

func someVolumes(n int, one string) string {
	if n == 1 {
		return "a volume, " + one
	}
	return fmt.Sprintf("%d volumes, such as %s", n, one)
}

// answer is what a call answers before ctx ends. One that does not goes on
// without anybody waiting for it.
func answer[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := call(ctx)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return *new(T), fmt.Errorf("it does not answer: %w", ctx.Err())
	}
}

// reportLostPools tells of pools that the journal has volumes of and the
// configuration has not, which it refuses but at a start, when there is no
// earlier one to stay in force. Their volumes are kept, and nothing is done
// with them until the pool is back.
func (a *Agent) reportLostPools(cfg *config.Agent) {
	lost := map[string]bool{}
	for _, r := range a.journal.All() {
		if r.Carved != nil {
			lost[r.Carved.Pool] = true
		}
	}
	for _, c := range cfg.Pools {
		delete(lost, c.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(lost)) {
		list := a.carvedIn(name)
		if len(list) == 0 {
			continue // since a moment
		}
		a.reports.set(poolSubject(name), api.ReasonPoolUnfit, fmt.Sprintf(
			"pool %q is not in the configuration, and the journal knows %s, of it; what is in it is kept as it is; put the pool back into the configuration",
			name, someVolumes(len(list), list[0].Entry)))
	}
	for name := range a.lostPools {
		if !lost[name] { // from now on the pool tells itself
			a.reports.clear(poolSubject(name))
		}
	}
	a.lostPools = lost
}
