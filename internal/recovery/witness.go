package recovery

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// fresh is for how long a look serves all volumes of a node.
const fresh = time.Second

// lookup is what the witness asks the API server itself, not a cache.
type lookup interface {
	NodeNamed(ctx context.Context, name string) (bool, error)
	NodeWithHostname(ctx context.Context, hostname string) (string, error)
	Lease(ctx context.Context, namespace, name string) (*coordinationv1.Lease, error)
}

// witness looks for signs of life of nodes, and remembers what it has seen of
// their Leases. It may be used from several goroutines.
type witness struct {
	api     lookup
	answers func(ctx context.Context, address string, names []string) bool

	mu     sync.Mutex // guards sights
	sights map[string]*sight
}

// sight is what was seen of the nodes of one Owner.
type sight struct {
	mu      sync.Mutex // guards the rest, and is held during a look
	beats   map[string]Beat
	at      time.Time // of the last look that succeeded
	verdict Verdict

	gone atomic.Bool // what verdict says, for those who must not wait for a look
}

func newWitness(api lookup, answers func(context.Context, string, []string) bool) *witness {
	return &witness{api: api, answers: answers, sights: map[string]*sight{}}
}

func (w *witness) sight(o Owner) *sight {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sights[o.key()]
	if s == nil {
		s = &sight{beats: map[string]Beat{}}
		w.sights[o.key()] = s
	}
	return s
}

// Look says whether the nodes of an owner are gone, by a look that is not older
// than a second. Address is where their kubelet was last, "" if that is not
// known.
func (w *witness) Look(ctx context.Context, o Owner, address string) (Verdict, error) {
	s := w.sight(o)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.IsZero() && time.Since(s.at) < fresh {
		return s.verdict, nil
	}
	e, err := w.evidence(ctx, o, address, s)
	if err != nil {
		return Verdict{}, err
	}
	s.at = time.Now()
	s.verdict = Judge(e, s.at)
	s.gone.Store(s.verdict.Standing == Gone)
	if e.Node != "" { // what was seen of the Lease says nothing of the next time
		clear(s.beats)
	}
	return s.verdict, nil
}

func (w *witness) evidence(ctx context.Context, o Owner, address string, s *sight) (e Evidence, err error) {
	for _, h := range o.Hostnames {
		if e.Node, err = w.api.NodeWithHostname(ctx, h); err != nil || e.Node != "" {
			return e, err
		}
	}
	for _, name := range o.Nodes() {
		exists, err := w.api.NodeNamed(ctx, name)
		if err != nil {
			return e, err
		}
		if exists {
			return Evidence{Node: name}, nil
		}
	}
	for _, name := range o.Nodes() {
		lease, err := w.api.Lease(ctx, leaseNamespace, name)
		if err != nil {
			return e, err
		}
		if b, ok := beatOf(name, lease, s.beats[name], time.Now()); ok {
			s.beats[name] = b
			e.Beats = append(e.Beats, b)
		} else {
			delete(s.beats, name)
		}
	}
	if address != "" && w.answers(ctx, address, o.Nodes()) {
		e.Answered = address
	}
	return e, nil
}

// beatOf takes a look at a Lease together with what was seen of it before; false
// when there is no Lease.
func beatOf(name string, lease *coordinationv1.Lease, before Beat, now time.Time) (Beat, bool) {
	if lease == nil {
		return Beat{}, false
	}
	b := Beat{Node: name, Same: now}
	if r := lease.Spec.RenewTime; r != nil {
		b.Renewed = r.Time
	}
	if d := lease.Spec.LeaseDurationSeconds; d != nil {
		b.Duration = time.Duration(*d) * time.Second
	}
	switch {
	case before.Same.IsZero():
	case before.Renewed.Equal(b.Renewed):
		b.Same, b.Moved = before.Same, before.Moved
	default:
		b.Moved = true
	}
	return b, true
}

// Gone reports whether the last look at an owner's nodes found them gone.
func (w *witness) Gone(o Owner) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sights[o.key()]
	return s != nil && s.gone.Load()
}

// Keep drops what was seen of all owners but these.
func (w *witness) Keep(keys map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key := range w.sights {
		if !keys[key] {
			delete(w.sights, key)
		}
	}
}
