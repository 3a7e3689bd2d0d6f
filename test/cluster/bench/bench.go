// Package bench measures Berth on a real cluster, each figure beside a bare
// client of the API server that does the same writes in the same run, with
// nothing else running and again beside a load.
//
// It is a benchmark and no test: a limit that is not met is said and changes
// nothing. It does not start the cluster, and it does not install Berth: the
// agent runs as a plain process inside a node, so that its start, its memory
// and its end are under control.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/berth-storage/berth/test/cluster/bench/hand"
)

// Options say what to measure and how often.
type Options struct {
	// Only names the figures to measure (see Names); all if empty.
	Only []string
	// Rounds is how often a figure is measured; the median counts. At least 1.
	Rounds int
	// Quick makes everything fewer, to see that it works. Its figures say
	// little, and the limits do not apply.
	Quick bool
	// Out is told what goes on, one line a step.
	Out io.Writer
}

// Target is where to measure: a node of a cluster that nobody else uses.
type Target struct {
	Config *rest.Config
	Node   string
	// Hand runs hand.Serve inside the node.
	Hand *exec.Cmd
	hand.Place
	// Agent is the agent's command line up to the state directory, which is
	// the hand's.
	Agent []string
	// ReadyURL is where the agent says, to somebody in the node, whether it is ready.
	ReadyURL string
	// Carver is the agent's command line up to the state directory, and with it,
	// where it carves volumes out of a pool at the hand's PoolDir; Placer the
	// controller's. Both run in the node.
	Carver, Placer []string
	// Join adds another node to the cluster, for as long as leave is not called.
	Join func(ctx context.Context) (n Joined, leave func(context.Context) error, err error)
	// Spin is a command that keeps one core busy and never ends, for the load.
	Spin []string
}

// Joined is another node, as Target describes the first.
type Joined struct {
	Node string
	Hand *exec.Cmd
	hand.Place
	Carver []string
}

// Size of the measurements, as the issue that asks for the figures has them.
type size struct {
	volumes, mounts, releases, others int
	pairs, claims                     int // of pods, and claims at once
	fioRounds                         int
	settle, idle                      time.Duration
}

var (
	full  = size{volumes: 500, mounts: 100, releases: 20, others: 20_000, pairs: 30, claims: 200, fioRounds: 20, settle: 20 * time.Second, idle: time.Minute}
	quick = size{volumes: 50, mounts: 10, releases: 5, others: 1_000, pairs: 3, claims: 20, fioRounds: 3, settle: 3 * time.Second, idle: 5 * time.Second}
)

// measurement is one group of figures: what it is called and how it is taken.
// Beside a load only those with loaded set are taken again.
type measurement struct {
	name   string
	loaded bool
	take   func(b *bench, ctx context.Context, condition string) ([]Figure, error)
}

// Fio is the name of the figures that need that program.
const Fio = "fio"

var measurements = []measurement{
	{"publish", true, (*bench).publish},
	{"mount", true, (*bench).mount},
	{"release", true, (*bench).release},
	{"adopt", false, (*bench).adopt},
	{"pods", false, (*bench).startPods},
	{"claims", false, (*bench).bindClaims},
	{"mounted", false, (*bench).mounted},
	{Fio, false, (*bench).fio},
	{"storm", false, (*bench).storm},
	{"memory", false, (*bench).memory}, // last: it leaves many objects
}

// Names are the groups of figures that Options.Only chooses from.
func Names() []string {
	var names []string
	for _, m := range measurements {
		names = append(names, m.name)
	}
	return names
}

// bench is a running benchmark.
type bench struct {
	Options
	Target
	size
	kube  kubernetes.Interface
	hand  *hand.Hand
	begun time.Time
}

// Run takes the figures. The error says what could not be measured; the
// figures that could be are returned all the same.
func Run(ctx context.Context, t Target, o Options) ([]Figure, error) {
	for _, name := range o.Only {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("choosing figures: there is no %q; there are %q", name, Names())
		}
	}
	b := &bench{Options: o, Target: t, size: full, begun: time.Now()}
	if o.Quick {
		b.size = quick
	}
	config := rest.CopyConfig(t.Config)
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = config.ContentType + ",application/json"
	var err error
	if b.kube, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	if b.hand, err = hand.Run(t.Hand, t.Place); err != nil {
		return nil, err
	}
	figures, err := b.run(ctx)
	return figures, errors.Join(err, b.hand.Close())
}

func (b *bench) run(ctx context.Context) ([]Figure, error) {
	if err := b.makeClass(ctx); err != nil {
		return nil, err
	}
	figures, failed := b.takeAll(ctx, Quiet)
	if ctx.Err() == nil && slices.ContainsFunc(measurements, func(m measurement) bool { return m.loaded && b.chosen(m) }) {
		stop, err := b.startLoad(ctx)
		if err != nil {
			return figures, errors.Join(failed, err)
		}
		more, err := b.takeAll(ctx, Loaded)
		figures, failed = append(figures, more...), errors.Join(failed, err, stop())
	}
	if ctx.Err() == nil {
		more, err := b.takeLast(ctx)
		figures, failed = append(figures, more...), errors.Join(failed, err)
	}
	if ctx.Err() != nil {
		return figures, fmt.Errorf("measuring: %w", context.Cause(ctx))
	}
	return figures, failed
}

// takeAll takes every chosen group that is taken under both conditions.
func (b *bench) takeAll(ctx context.Context, condition string) ([]Figure, error) {
	return b.take(ctx, condition, func(m measurement) bool { return m.loaded })
}

// takeLast takes those that are taken once.
func (b *bench) takeLast(ctx context.Context) ([]Figure, error) {
	return b.take(ctx, Quiet, func(m measurement) bool { return !m.loaded })
}

func (b *bench) take(ctx context.Context, condition string, chosen func(measurement) bool) (figures []Figure, failed error) {
	for _, m := range measurements {
		if !chosen(m) || !b.chosen(m) || ctx.Err() != nil {
			continue
		}
		got, err := m.take(b, ctx, condition)
		figures = append(figures, got...)
		if err != nil {
			err = fmt.Errorf("measuring %s, %s: %w", m.name, condition, err)
			b.say("%v", err)
			failed = errors.Join(failed, err)
		}
		if err := b.clear(ctx); err != nil {
			return figures, errors.Join(failed, err)
		}
	}
	return figures, failed
}

// chosen reports whether a group of figures is one to take.
func (b *bench) chosen(m measurement) bool {
	return len(b.Only) == 0 || slices.Contains(b.Only, m.name)
}

// say tells one step.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.Out, "%6.1f s  %s\n", time.Since(b.begun).Seconds(), fmt.Sprintf(format, args...))
}
