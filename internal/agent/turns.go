package agent

import (
	"context"
	"sync"
)

// How many wipes run on one physical disk at a time. Two overwrites of one disk
// only make its heads travel; removing files gains from a few at a time.
const (
	overwritesPerDisk = 1
	removalsPerDisk   = 4
)

// turns makes wipes of one physical disk wait for each other. Disks do not wait
// for other disks.
type turns struct {
	mu     sync.Mutex // guards queues and their users
	queues map[turn]*queue
}

// turn is what one queues for.
type turn struct {
	disk      string
	overwrite bool // of a block device; else of a directory's contents
}

type queue struct {
	places chan struct{}
	users  int // who waits or has a place
}

func newTurns() *turns { return &turns{queues: map[turn]*queue{}} }

// take waits for a place, and returns the function that gives it back. It calls
// waiting, and says so, when there is none at once. It fails only with ctx.
func (t *turns) take(ctx context.Context, k turn, waiting func()) (giveBack func(), waited bool, err error) {
	t.mu.Lock()
	q := t.queues[k]
	if q == nil {
		n := removalsPerDisk
		if k.overwrite {
			n = overwritesPerDisk
		}
		q = &queue{places: make(chan struct{}, n)}
		t.queues[k] = q
	}
	q.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if q.users--; q.users == 0 {
			delete(t.queues, k)
		}
	}
	select {
	case q.places <- struct{}{}:
	default:
		waited = true
		waiting()
		select {
		case q.places <- struct{}{}:
		case <-ctx.Done():
			leave()
			return nil, true, ctx.Err()
		}
	}
	return func() { <-q.places; leave() }, waited, nil
}
