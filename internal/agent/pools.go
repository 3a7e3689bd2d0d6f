package agent

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/pool"
)

// opener opens a pool that is configured, or says why it cannot be one.
type opener func(ctx context.Context, c config.Pool) (pool.Pool, error)

// poolRetry is how long a pool that could not be opened is left alone, unless a
// mount or a device has changed. A kernel feature or a quota that is turned on
// announces nothing.
const poolRetry = 10 * time.Second

// pools are the pools of the configuration, open or not. Each is opened, looked
// at and closed in a goroutine of its own, so that a disk that hangs holds up
// its own pool only.
type pools struct {
	log     *slog.Logger
	reports *reports
	running *sync.WaitGroup
	open    opener
	// expected are the volumes that were in a pool when it was open last, by the
	// journal.
	expected func(name string) []pool.ID
	// changed is called when a pool has become usable, or is not any more, or has
	// another room than before; nil for nobody.
	changed func(name string)

	mu      sync.Mutex // guards the rest, and what poolState says
	byName  map[string]*poolState
	leaving map[*poolState]bool // were taken out, and are not closed yet
}

// poolState is one pool of the configuration. Its goroutine alone sets gate.
type poolState struct {
	look chan struct{} // one place: something may have changed
	stop chan struct{} // closed when it is not configured any more
	left chan struct{} // closed when its goroutine has ended

	// Guarded by pools.mu:
	cfg  config.Pool
	gate *gate // nil while it is not open
	why  error // why it is not open; nil while that was not tried yet
	// opening says that it is being opened now.
	opening bool
}

// newPools has no pools yet. Log gets what changes, and open opens one.
func newPools(log *slog.Logger, r *reports, running *sync.WaitGroup, open opener) *pools {
	return &pools{log: log, reports: r, running: running, open: open,
		expected: func(string) []pool.ID { return nil },
		byName:   map[string]*poolState{}, leaving: map[*poolState]bool{}}
}

// set says which pools there are from now on. It starts what follows from it,
// and waits for none of it: changed tells. Pools that stay as they are stay
// open.
func (p *pools) set(ctx context.Context, list []config.Pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := map[string]bool{}
	for name := range p.byName {
		gone[name] = true
	}
	for _, c := range list {
		delete(gone, c.Name)
	}
	for name := range gone { // first, so that the others can wait for them
		s := p.byName[name]
		delete(p.byName, name)
		p.leaving[s] = true
		close(s.stop)
		p.reports.clear(poolSubject(name))
	}
	for _, c := range list {
		if s := p.byName[c.Name]; s != nil {
			s.cfg = c
			s.kick()
			continue
		}
		s := &poolState{cfg: c, look: make(chan struct{}, 1), stop: make(chan struct{}), left: make(chan struct{})}
		p.byName[c.Name] = s
		var before []<-chan struct{}
		for old := range p.leaving {
			if old.cfg.Name == c.Name || old.cfg.Where() == c.Where() {
				before = append(before, old.left)
			}
		}
		p.running.Go(func() { p.keep(ctx, s, before) })
	}
}

// check has each pool looked at: a mount or a device may have come, gone or
// changed. It never waits.
func (p *pools) check() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.byName {
		s.kick()
	}
}

func (s *poolState) kick() {
	select {
	case s.look <- struct{}{}:
	default:
	}
}

// keep looks after one pool until it is not configured any more, beginning when
// those before it have ended: two processes, or two of this one, must not have
// one place at a time.
func (p *pools) keep(ctx context.Context, s *poolState, before []<-chan struct{}) {
	defer close(s.left)
	for _, left := range before {
		select {
		case <-left:
		case <-ctx.Done():
			return
		}
	}
	var opened config.Pool // as the gate was opened
	for {
		opened = p.tend(ctx, s, opened)
		var again <-chan time.Time
		if p.gateOf(s) == nil {
			again = time.After(poolRetry)
		}
		select {
		case <-ctx.Done():
			return // its volumes stay open for those who use them
		case <-s.stop:
			p.leave(s)
			return
		case <-s.look:
		case <-again:
		}
	}
}

// tend opens a pool that is not open, or is open as it is not configured any
// more, or is not at its place any more. It returns the configuration that it
// is open with.
func (p *pools) tend(ctx context.Context, s *poolState, opened config.Pool) config.Pool {
	p.mu.Lock()
	cfg, g := s.cfg, s.gate
	p.mu.Unlock()
	if g != nil {
		err := g.there()
		if err == nil && g.follow(opened, cfg) {
			if opened.Reserve != cfg.Reserve {
				p.tell(cfg.Name)
			}
			return cfg
		}
		if err == nil {
			err = fmt.Errorf("%w: it is being opened anew, as its configuration has changed", pool.ErrUnfit)
		}
		p.drop(s, err)
		if err := g.shut(); err != nil {
			p.log.Warn("a pool was closed with an error", "pool", cfg.Name, "err", err)
		}
	}
	opens, err := p.opens(ctx, s, cfg)
	if err == nil {
		g = newGate(opens)
		if err = p.proves(ctx, s, cfg, g); err == nil {
			return cfg
		}
		if shut := g.shut(); shut != nil {
			p.log.Warn("a pool was closed with an error", "pool", cfg.Name, "err", shut)
		}
	}
	if ctx.Err() == nil {
		p.refuse(s, err)
	}
	return cfg
}

// opens opens a pool, and reports it when that takes long.
func (p *pools) opens(ctx context.Context, s *poolState, cfg config.Pool) (pool.Pool, error) {
	opening := func(is bool) {
		p.mu.Lock()
		s.opening = is
		p.mu.Unlock()
	}
	opening(true)
	defer opening(false)
	hung := time.AfterFunc(inspectPatience, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if s.opening && p.byName[cfg.Name] == s && ctx.Err() == nil {
			p.reports.set(poolSubject(cfg.Name), api.ReasonPoolUnfit, fmt.Sprintf(
				"pool %q cannot be used: opening %s has taken over %s; the others are looked after", cfg.Name, cfg.Where(), inspectPatience))
		}
	})
	defer hung.Stop()
	return p.open(ctx, cfg)
}

// proves takes an open pool into use, unless it is another than the one of that
// name before, or has the disk of another pool.
func (p *pools) proves(ctx context.Context, s *poolState, cfg config.Pool, g *gate) error {
	if err := wantVolumes(ctx, g, p.expected(cfg.Name)); err != nil {
		return fmt.Errorf("%s %w", cfg.Where(), err)
	}
	p.mu.Lock()
	if p.byName[cfg.Name] != s {
		p.mu.Unlock()
		return fmt.Errorf("%w: it was taken out of the configuration", pool.ErrUnfit)
	}
	for name, other := range p.byName {
		if other != s && other.gate != nil && g.disk() != "" && other.gate.disk() == g.disk() {
			p.mu.Unlock()
			return fmt.Errorf("%s %w: it is the filesystem of pool %q, whose space would be promised twice; take one of the two out", cfg.Where(), pool.ErrUnfit, name)
		}
	}
	s.gate, s.why = g, nil
	p.reports.clear(poolSubject(cfg.Name))
	p.mu.Unlock()
	p.log.Info("pool opened", "pool", cfg.Name, "where", cfg.Where())
	p.tell(cfg.Name)
	return nil
}

// wantVolumes is pool.ErrUnfit when a pool is to have volumes and has none of
// them: then it is another disk than it was, and nothing may be carved there.
// Single volumes that are missing are for who looks after them.
func wantVolumes(ctx context.Context, g pool.Pool, want []pool.ID) error {
	if len(want) == 0 {
		return nil
	}
	have, err := g.Volumes(ctx)
	if err != nil {
		return err
	}
	known := map[pool.ID]bool{}
	for _, v := range have {
		known[v.ID] = true
	}
	for _, id := range want {
		if known[id] {
			return nil
		}
	}
	return fmt.Errorf("%w: it has none of the %d volumes that the journal knows, such as %s, so it is another one, or was made anew; bring back the one that has them", pool.ErrUnfit, len(want), want[0])
}

// drop gives a pool to nobody any more. It is reported when it cannot be opened
// anew.
func (p *pools) drop(s *poolState, why error) {
	p.mu.Lock()
	s.gate, s.why = nil, why
	name, current := s.cfg.Name, p.byName[s.cfg.Name] == s
	p.mu.Unlock()
	if current {
		p.tell(name)
	}
}

// refuse reports why a pool could not be opened.
func (p *pools) refuse(s *poolState, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.why = why
	if name := s.cfg.Name; p.byName[name] == s {
		p.reports.set(poolSubject(name), api.ReasonPoolUnfit, fmt.Sprintf("pool %q cannot be used, trying again: %v", name, why))
	}
}

// leave closes a pool that was taken out of the configuration.
func (p *pools) leave(s *poolState) {
	p.mu.Lock()
	g, name := s.gate, s.cfg.Name
	s.gate = nil
	p.mu.Unlock()
	if g != nil {
		if err := g.shut(); err != nil {
			p.log.Warn("a pool was closed with an error", "pool", name, "err", err)
		}
	}
	p.mu.Lock()
	delete(p.leaving, s)
	p.mu.Unlock()
	p.log.Info("pool closed", "pool", name)
	p.tell(name)
}

func (p *pools) gateOf(s *poolState) *gate {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.gate
}

func (p *pools) tell(name string) {
	if p.changed != nil {
		p.changed(name)
	}
}

func poolSubject(name string) string { return "pool/" + name }
