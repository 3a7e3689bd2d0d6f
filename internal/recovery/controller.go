package recovery

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
)

// cluster is what the controller needs of the API server, besides watches.
type cluster interface {
	lookup
	Claim(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error)
	DeleteClaim(ctx context.Context, claim Claim) error
	DeletePV(ctx context.Context, v Volume) error
	Annotate(ctx context.Context, v Volume, annotations map[string]*string) error
	LetGo(ctx context.Context, v Volume) error
	Event(ctx context.Context, e *corev1.Event) error
}

// Retries of a volume that failed, each twice as long after the one before.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = time.Minute
)

// controller decides and does, once it leads. Before, it only keeps its mirrors
// up to date.
type controller struct {
	o       Options
	log     *slog.Logger
	cluster cluster
	volumes *mirror[Volume]
	nodes   *mirror[node]
	witness *witness
	reports *reports
	metrics *metrics
	queue   workqueue.TypedRateLimitingInterface[string] // names of PVs
	leading atomic.Bool
	beside  Job // nil for none

	mu sync.Mutex // guards the rest
	// deadlines are when the delay is over, by UID of the PV. They have this
	// process's monotonic clock, so no change of the wall clock moves them.
	deadlines map[string]time.Time
	// void are values of api.AnnNodeGoneSince that do not hold any more, since
	// the node was back, but may still stand there; by UID of the PV.
	void map[string]string
	// addresses are those of lost nodes' kubelets, by each of the nodes' IDs.
	addresses map[string]string
}

func newController(o Options, c cluster, answers func(context.Context, string, []string) bool, m *metrics) *controller {
	k := &controller{
		o: o, log: o.Log, cluster: c, witness: newWitness(c, answers), metrics: m,
		queue:     workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstRetry, lastRetry)),
		deadlines: map[string]time.Time{}, void: map[string]string{}, addresses: map[string]string{},
	}
	k.reports = &reports{log: o.Log, event: k.event, current: map[string]report{}}
	k.volumes = newMirror(viewVolume(o.Classes), func(v Volume) []string { return v.Owner.IDs() }, k.volumeChanged)
	k.nodes = newMirror(viewNode, node.ids, k.nodeChanged)
	k.metrics.watch(k)
	return k
}

// Synced reports whether all mirrors that are needed have been filled.
func (c *controller) Synced() bool {
	return (len(c.o.Classes) == 0 || c.volumes.Synced() && c.nodes.Synced()) && (c.beside == nil || c.beside.Synced())
}

func (c *controller) volumeChanged(name string, old, now *Volume) {
	if old != nil && (now == nil || now.UID != old.UID) {
		c.mu.Lock()
		delete(c.deadlines, old.UID)
		delete(c.void, old.UID)
		c.mu.Unlock()
		c.reports.drop(name)
	}
	if now != nil {
		c.enqueue(name)
	}
}

// nodeChanged looks at the volumes of a node that has come or gone. Most changes
// are of a node's status, and make no difference.
func (c *controller) nodeChanged(_ string, old, now *node) {
	if old != nil && now != nil && *old == *now {
		return
	}
	c.mu.Lock()
	if old != nil && now == nil && old.address != "" {
		for _, id := range old.ids() {
			c.addresses[id] = old.address
		}
	}
	if now != nil {
		for _, id := range now.ids() {
			delete(c.addresses, id)
		}
	}
	c.mu.Unlock()
	for _, n := range []*node{old, now} {
		if n != nil {
			c.enqueue(c.volumes.With(n.ids()...)...)
		}
	}
}

func (c *controller) enqueue(names ...string) {
	if !c.leading.Load() {
		return
	}
	for _, name := range names {
		c.queue.Add(name)
	}
}

// lead works until ctx ends, and returns when nothing is under way any more.
// The mirrors must be filled.
func (c *controller) lead(ctx context.Context) {
	c.leading.Store(true)
	c.log.Info("looking after the volumes of lost nodes", "classes", c.o.Classes, "delay", c.o.Delay)
	var working sync.WaitGroup
	for range c.o.Workers {
		working.Go(func() { c.work(ctx) })
	}
	for name := range c.volumes.All() {
		c.enqueue(name)
	}
	sweep, resync := time.NewTicker(c.o.StaleInterval), make(<-chan time.Time)
	defer sweep.Stop()
	if c.o.Resync > 0 {
		t := time.NewTicker(c.o.Resync)
		defer t.Stop()
		resync = t.C
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-sweep.C:
			c.sweep()
		case <-resync:
			for name := range c.volumes.All() {
				c.enqueue(name)
			}
		}
	}
	c.leading.Store(false)
	c.queue.ShutDown()
	working.Wait()
}

// sweep looks again at the volumes of lost nodes, and drops what is remembered
// of others.
func (c *controller) sweep() {
	owners, ids := map[string]bool{}, map[string]bool{}
	for name, v := range c.volumes.All() {
		for _, id := range v.Owner.IDs() {
			ids[id] = true
		}
		if v.Owner.Uncertain == "" && !c.here(v) {
			owners[v.Owner.key()] = true
			c.enqueue(name)
		}
	}
	c.witness.Keep(owners)
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.addresses {
		if !ids[id] {
			delete(c.addresses, id)
		}
	}
}

func (c *controller) work(ctx context.Context) {
	for {
		name, over := c.queue.Get()
		if over {
			return
		}
		if ctx.Err() == nil {
			c.attempt(ctx, name)
		}
		c.queue.Done(name)
	}
}

// attempt works on one volume, and sees to a retry if that fails.
func (c *controller) attempt(ctx context.Context, name string) {
	err := c.reconcile(ctx, name)
	if err == nil {
		c.queue.Forget(name)
		return
	}
	if ctx.Err() != nil {
		return
	}
	c.queue.AddRateLimited(name)
	c.failed(ctx, name, err)
}

// here reports whether the mirror has a Node object for the volume.
func (c *controller) here(v Volume) bool { return len(c.nodes.With(v.Owner.IDs()...)) > 0 }

// address is where the kubelet of a volume's node was last, "" if that is not
// known.
func (c *controller) address(v Volume) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range v.Owner.IDs() {
		if a := c.addresses[id]; a != "" {
			return a
		}
	}
	return v.Address
}

// deadline is when the delay is over for a volume, the zero time when it has not
// been noted that its node is gone.
func (c *controller) deadline(v Volume, now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.deadlines[v.UID]
	if !ok && v.GoneSince != "" && v.GoneSince != c.void[v.UID] {
		if gone, ok := v.noted(now, c.o.Delay); ok {
			d = now.Add(c.o.Delay - gone)
			c.deadlines[v.UID] = d
		}
	}
	return d
}

// reconcile decides about one volume, and does it.
func (c *controller) reconcile(ctx context.Context, name string) error {
	v, ok := c.volumes.Get(name)
	if !ok {
		return nil
	}
	in := Input{Volume: v, Address: c.address(v)}
	if v.Owner.Uncertain == "" {
		if c.here(v) {
			in.Node.Standing = Here
		} else {
			var err error
			if in.Node, err = c.witness.Look(ctx, v.Owner, in.Address); err != nil {
				return err
			}
			c.reports.clear(leasesSubject)
		}
	}
	in.Now = time.Now()
	in.Deadline = c.deadline(v, in.Now)
	d := Decide(in)
	if d.Reason != "" {
		c.reports.set(ctx, v.Name, d.Reason, d.Why, v.about()...)
	}
	if err := c.do(ctx, v, d); err != nil {
		return err
	}
	if d.Reason == "" {
		c.reports.clear(v.Name)
	}
	if !d.Until.IsZero() {
		// Not sooner than another look is taken: before, the verdict is the same.
		c.queue.AddAfter(v.Name, max(d.Until.Sub(in.Now), fresh))
	}
	return nil
}
