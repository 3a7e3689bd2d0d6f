package agent

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// requests is how many requests to the API server are under way at most. More
// do not make it faster; the server's own limits set the pace.
const requests = 16

// Options is what an agent is started with.
type Options struct {
	Node     string // the node's name
	Config   Source
	StateDir string // the directory of the journal
	// FindStateDir says where the journal is kept when StateDir is "", once there
	// is a good configuration, and warns of what the operator may not want.
	FindStateDir func([]config.Class) (dir, warning string)
	// StandIn says that the agent stands in for the established static
	// provisioner, under that one's manifests: it puts no finalizer on PVs, which
	// nobody could take off after the way back, and a class without a StorageClass
	// does not keep the others from being looked after.
	StandIn bool
	// Namespace is where cleaning Jobs run, with JobImage, and where the objects
	// are that say what room there is. It is needed only where a class asks for
	// Jobs, or with KubeletDir.
	Namespace, JobImage string
	// KubeletDir is the kubelet's directory, beneath which it is told of the CSI
	// services; "" where the agent looks after no pools.
	KubeletDir  string
	Version     string // that the CSI services say they have
	Listen      string // address for metrics and health; "" for none
	MetricsPath string // "" for /metrics
	Kube        *rest.Config
	Log         *slog.Logger
}

// Source is where the agent's configuration comes from.
type Source interface {
	// String names the source in messages.
	String() string
	// Load reads it. Notes are what is obeyed although the operator may not want
	// it; the error is about all that is not.
	Load() (cfg *config.Agent, notes []string, err error)
	// Watch calls changed once when it has begun, and after each change, until
	// ctx ends.
	Watch(ctx context.Context, changed func()) error
}

type pvObject = corev1.PersistentVolume

// cluster is what the agent needs of the API server.
type cluster interface {
	Create(ctx context.Context, pv *corev1.PersistentVolume) (*corev1.PersistentVolume, bool, error)
	Get(ctx context.Context, name string) (*corev1.PersistentVolume, error)
	Unlabelled(ctx context.Context, each func(*corev1.PersistentVolume)) error
	Label(ctx context.Context, pv volume.PV) (*corev1.PersistentVolume, error)
	Withdraw(ctx context.Context, pv volume.PV) (*corev1.PersistentVolume, error)
	LetGo(ctx context.Context, pv volume.PV) error
	Event(ctx context.Context, e *corev1.Event) error
	RemoveTaint(ctx context.Context, key string) (removed bool, err error)
	AddTaint(ctx context.Context, key string, effect corev1.TaintEffect) (added bool, err error)
	SetState(ctx context.Context, pv volume.PV, state, reason string) (*corev1.PersistentVolume, error)
	PodsOf(ctx context.Context, claim volume.Claim) ([]corev1.ObjectReference, error)
	GiveBack(ctx context.Context, w volume.Want) (given bool, err error)
	GrowPV(ctx context.Context, pv volume.PV, bytes int64) (*corev1.PersistentVolume, error)
	SetResize(ctx context.Context, w volume.Want, r publish.Resize) (volume.Want, error)
}

// journal is what the agent needs of the journal.
type journal interface {
	Get(id volume.ID) (volume.Record, bool)
	All() []volume.Record
	Put(r volume.Record) error
	Remove(id volume.ID) error
}

// Agent looks after the volumes of one node.
type Agent struct {
	log       *slog.Logger
	node      publish.Node
	machine   machine
	cluster   cluster
	journal   journal
	store     *publish.Store
	classes   *publish.Classes
	reports   *reports
	metrics   *metrics
	slots     *slots
	volumes   *workers
	events    chan event
	old       *old
	standIn   bool     // see Options.StandIn
	byPV      sync.Map // UID of a PV → disk.ID: what the journal knows
	strangers strangers
	states    *toldStates
	turns     *turns
	tries     *tries
	wipings   wipings
	commands  commands
	carved    *carved
	roomDue   chan struct{} // what room there is in a pool may have changed
	pools     *pools
	lostPools map[string]bool // see reportLostPools, which alone uses it
	// jobs returns the client for Jobs, which is made when a class first wants
	// one: most agents never do.
	jobs     func() (jobs, error)
	jobImage string

	current    atomic.Pointer[config.Agent]
	reloadDue  atomic.Bool // the file, or what it was checked against, may have changed
	discovered atomic.Bool // the discovery directories have been read once
	ready      atomic.Bool // see notReady
	onDevices  atomic.Bool // an entry may be, or lead to, a block device
	failures   sync.Map    // volume.ID → how often in a row an action failed
	unmarked   sync.Map    // volume.ID → it was said that it goes without a mark
	owed       sync.Map    // volume.ID → volume.Record: see put
	requests   chan struct{}
	notes      chan struct{} // one place: for journal writes that nothing waits for
	inspecting chan struct{}
	progressed chan struct{} // the agent may have become ready
	taintDue   chan struct{} // the node's taint may have to change
	rescan     chan bool     // true: look at everything again
	links      linkScans
	running    sync.WaitGroup
}

// newAgent joins the parts. It starts nothing.
func newAgent(ctx context.Context, node publish.Node, m machine, c cluster, j journal, log *slog.Logger) *Agent {
	a := &Agent{
		log: log, node: node, machine: m, cluster: c,
		metrics: newMetrics(), slots: newSlots(), turns: newTurns(), tries: newTries(),
		events: make(chan event, eventQueue), old: newOld(), states: newToldStates(),
		requests: make(chan struct{}, requests), inspecting: make(chan struct{}, inspections), notes: make(chan struct{}, 1),
		roomDue: make(chan struct{}, 1), rescan: make(chan bool, 1), progressed: make(chan struct{}, 1), taintDue: make(chan struct{}, 1),
	}
	a.reports = &reports{log: log, event: a.queueEvent, current: map[string]report{}, soon: map[string]*time.Timer{},
		node: corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: types.UID(node.Name)}}
	a.pools = newPools(log, a.reports, &a.running, openPool)
	a.pools.expected = a.expectedIn
	a.volumes = newWorkers(ctx, &a.running, func(ctx context.Context, id volume.ID) time.Duration {
		defer a.progress()
		return a.reconcile(ctx, id)
	})
	a.store = publish.NewStore(publish.Handlers{
		Changed: a.pvChanged, Foreign: a.foreign,
		Unidentified: func(name string) { a.volumes.kick(unidentified(name)) },
		Listed: func() {
			a.kickAll()
			a.progress() // there may be none
		},
	})
	a.carved = newCarved(a.pools, publish.NewClaims(a.claimChanged, a.kickAll))
	a.pools.changed = func(name string) { a.poolChanged(ctx, name) }
	a.classes = publish.NewClasses(func() {
		a.configChanged()
		a.tellRoomSoon()
	})
	a.metrics.watch(a)
	if j != nil {
		a.useJournal(j)
	}
	return a
}

// useJournal gives the agent its journal, before anything else is started.
func (a *Agent) useJournal(j journal) {
	a.journal = j
	for _, r := range j.All() {
		a.metrics.state(r)
		if r.PV.UID != "" && !unknown(r.Identity) {
			a.byPV.Store(r.PV.UID, r.Identity)
		}
	}
}

// config returns the configuration in force, nil before the first good one.
func (a *Agent) config() *config.Agent { return a.current.Load() }

// trigger asks for a scan of the discovery directories. It never waits.
func (a *Agent) trigger(full bool) {
	select {
	case a.rescan <- full:
	default:
		if full { // a plain scan waits already; make it a full one
			select {
			case <-a.rescan:
			default:
			}
			select {
			case a.rescan <- true:
			default:
			}
		}
	}
}

// configChanged asks for a look at the configuration file and, with it, a scan.
func (a *Agent) configChanged() {
	a.reloadDue.Store(true)
	a.trigger(false)
}

// devicesChanged asks for a scan, where a block device can make a difference to
// it: machines announce theirs often, and a mount is announced for itself.
func (a *Agent) devicesChanged() {
	if a.onDevices.Load() {
		a.trigger(false)
		a.expectLinks()
	}
}

// loop scans when something has happened, and at the rescan interval. It ends
// with ctx.
func (a *Agent) loop(ctx context.Context, reload func()) {
	a.reloadDue.Store(true)
	a.trigger(true)
	var slow <-chan time.Time
	var before *config.Agent
	for {
		full := false
		select {
		case <-ctx.Done():
			return
		case full = <-a.rescan:
		case <-slow:
			full = true
		}
		if a.reloadDue.Swap(false) || full {
			reload()
		}
		a.discover(ctx, full)
		cfg := a.config()
		if cfg == nil {
			continue
		}
		if full || cfg != before { // its classes say which strangers are of concern
			a.running.Go(func() { a.reportStrangers(ctx) })
		}
		before, slow = cfg, time.After(cfg.RescanInterval)
	}
}

// watch runs one source of events, again and again if it fails.
func (a *Agent) watch(ctx context.Context, what string, run func(context.Context, func()) error, changed func()) {
	a.running.Go(func() {
		for ctx.Err() == nil {
			err := run(ctx, changed)
			if ctx.Err() != nil {
				return
			}
			a.log.Error("watching failed; the slow rescan goes on", "what", what, "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Second):
			}
		}
	})
}
