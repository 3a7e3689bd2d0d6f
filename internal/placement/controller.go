package placement

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"

	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// Options is what the job is started with.
type Options struct {
	Workers  int    // how many claims are worked on at a time
	Identity string // of this process, in events
	Log      *slog.Logger
}

// cluster is what the controller needs of the API server, besides watches.
type cluster interface {
	Patch(ctx context.Context, claim volume.Claim, steps []publish.PatchOp) (done bool, err error)
	NodeNamed(ctx context.Context, name string) (bool, error)
	Event(ctx context.Context, e *corev1.Event) error
}

// Retries of a claim that failed, each twice as long after the one before.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Minute
)

// patience is how long the watch may take to show a choice that was written. One
// that a claim has lost again may never be shown, where the watch has begun anew
// in between. Agents have as long to say which of their pools serve a class: one
// that is as new as its first claim lacks their word for some milliseconds.
const patience = 5 * time.Second

// errLate: the claim is not any more as it was judged, and the watch has yet to
// say how it is.
var errLate = errors.New("the claim has changed meanwhile")

// Controller places claims, once it leads. Before, it only keeps its mirrors up
// to date.
type Controller struct {
	o       Options
	log     *slog.Logger
	cluster cluster
	claims  *mirror[claim]
	classes *mirror[class]
	nodes   *mirror[node]
	rooms   *mirror[room]
	api     *client // feeds the mirrors; nil where something else does
	metrics *metrics
	queue   workqueue.TypedRateLimitingInterface[string] // keys of claims
	leading atomic.Bool

	mu sync.Mutex // guards the rest
	// chosen are the nodes that were chosen here for claims, by key, until the
	// mirror shows them.
	chosen map[string]promise
	// waiting are the claims that no node has room for, by key.
	waiting map[string]waiting
	// last are the nodes that were chosen last, by namespace.
	last map[string]lastChoice
}

// promise is the node that was chosen for a claim of a UID.
type promise struct {
	uid, node string
	unsure    bool      // the API server has not answered whether it was written
	written   time.Time // when it was; zero before
}

// lastChoice is the node that was chosen at that time.
type lastChoice struct {
	node string
	at   time.Time
}

// waiting is a claim of a UID that waits for room.
type waiting struct {
	uid   string
	since time.Time
	told  bool
}

// New returns a controller, whose metrics are registered with reg, and what it
// is to be kept up to date by.
func New(o Options, config *rest.Config, reg prometheus.Registerer) (*Controller, error) {
	api, err := newClient(config)
	if err != nil {
		return nil, err
	}
	c := newController(o, api, reg)
	c.api = api
	return c, nil
}

func newController(o Options, k cluster, reg prometheus.Registerer) *Controller {
	c := &Controller{
		o: o, log: o.Log, cluster: k, chosen: map[string]promise{}, waiting: map[string]waiting{}, last: map[string]lastChoice{},
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstRetry, lastRetry)),
	}
	c.claims = newMirror(viewClaim, c.claimChanged)
	c.classes = newMirror(viewClass, func(string, *class, *class) { c.enqueueAll() })
	c.nodes = newMirror(viewNode, c.nodeChanged)
	c.rooms = newMirror(viewRoom, func(string, *room, *room) { c.enqueueWaiting() })
	c.metrics = newMetrics(c, reg)
	return c
}

// Watch keeps what is known of the cluster up to date until ctx ends.
func (c *Controller) Watch(ctx context.Context) {
	var watching sync.WaitGroup
	watching.Go(func() { c.api.follow(ctx, claims, "", c.claims) })
	watching.Go(func() { c.api.follow(ctx, nodes, "", c.nodes) })
	watching.Go(func() { c.api.follow(ctx, classes, "", c.classes) })
	watching.Go(func() { c.api.follow(ctx, capacity, ofAgents, c.rooms) })
	watching.Wait()
}

// Synced reports whether all of it has been read.
func (c *Controller) Synced() bool {
	return c.claims.Synced() && c.nodes.Synced() && c.classes.Synced() && c.rooms.Synced()
}

func (c *Controller) claimChanged(key string, old, now *claim) {
	c.mu.Lock()
	if p, ok := c.chosen[key]; ok && (now == nil || now.UID != p.uid || now.node != "") {
		delete(c.chosen, key)
	}
	if w, ok := c.waiting[key]; ok && (now == nil || now.UID != w.uid) {
		delete(c.waiting, key)
	}
	c.mu.Unlock()
	if now != nil {
		c.enqueue(key)
	}
	if old != nil && old.label != "" && (now == nil || now.label != old.label) {
		c.enqueueWaiting() // what was promised to it may be had
	}
}

// nodeChanged looks at the claims of a node that is gone, and at those that wait
// for one. Most changes are of a node's status, and make no difference.
func (c *Controller) nodeChanged(name string, old, now *node) {
	if now == nil {
		for key, cl := range c.claims.All() {
			if cl.node == name {
				c.enqueue(key)
			}
		}
	} else if old == nil || old.usable != now.usable || !maps.Equal(old.labels, now.labels) {
		c.enqueueWaiting()
	}
}

func (c *Controller) enqueue(key string) {
	if c.leading.Load() {
		c.queue.Add(key)
	}
}

func (c *Controller) enqueueAll() {
	for key := range c.claims.All() {
		c.enqueue(key)
	}
}

func (c *Controller) enqueueWaiting() {
	c.mu.Lock()
	keys := slices.Collect(maps.Keys(c.waiting))
	c.mu.Unlock()
	for _, key := range keys {
		c.enqueue(key)
	}
}

// Lead works until ctx ends, and returns when nothing is under way any more. The
// controller must be synced.
func (c *Controller) Lead(ctx context.Context) {
	c.leading.Store(true)
	c.log.Info("placing claims")
	var working sync.WaitGroup
	for range c.o.Workers {
		working.Go(func() { c.work(ctx) })
	}
	c.enqueueAll()
	<-ctx.Done()
	c.leading.Store(false)
	c.queue.ShutDown()
	working.Wait()
}

func (c *Controller) work(ctx context.Context) {
	for {
		key, over := c.queue.Get()
		if over {
			return
		}
		if ctx.Err() == nil {
			c.attempt(ctx, key)
		}
		c.queue.Done(key)
	}
}

// attempt works on one claim, and sees to a retry if that fails.
func (c *Controller) attempt(ctx context.Context, key string) {
	err := c.reconcile(ctx, key)
	switch {
	case err == nil:
		c.queue.Forget(key)
	case ctx.Err() != nil:
	case errors.Is(err, errLate):
		c.queue.AddRateLimited(key)
	default:
		c.metrics.failed.Inc()
		c.log.Warn("a claim could not be placed, trying again", "claim", key, "err", err)
		c.queue.AddRateLimited(key)
	}
}
