package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/berth-storage/berth/test/cluster/internal/preflight"
	"github.com/berth-storage/berth/test/cluster/internal/process"
	"github.com/berth-storage/berth/test/cluster/internal/progress"
	"github.com/berth-storage/berth/test/cluster/internal/state"
	"github.com/berth-storage/berth/test/cluster/internal/supervisor"
	"github.com/berth-storage/berth/test/cluster/internal/teardown"
)

// ErrRuns says that the directory has a running cluster already.
var ErrRuns = errors.New("the cluster runs already")

// Names of steps; the first two are the supervisor's phases.
const (
	stepControl = supervisor.ControlPlane
	stepNodes   = supervisor.Nodes
	stepReady   = "nodes Ready"
)

// readyPatience is how long the nodes may take to be Ready, once they run.
const readyPatience = 2 * time.Minute

// start is a cluster on its way.
type start struct {
	Options
	root, dir string
	parts     *preparation
	lock      *os.File
	state     *state.State
	line      *progress.Line
}

// Start checks the machine, builds what is not cached, and starts a cluster,
// up to nodes that are Ready. What an earlier, interrupted start left in the
// directory is taken away first. After an error, Down takes the rest away; the
// logs are there until then.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	s, err := newStart(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	defer s.lock.Close()
	err = s.run(ctx)
	s.line.Close(err != nil)
	if err != nil {
		return nil, err
	}
	c, err := Attach(s.dir)
	if err != nil {
		return nil, err
	}
	c.out = s.Out
	return c, nil
}

func newStart(ctx context.Context, o Options) (*start, error) {
	root, err := FindRoot()
	if err != nil {
		return nil, err
	}
	if o.Dir == "" {
		o.Dir = filepath.Join(root, ".cluster")
	}
	switch o.Nodes {
	case 0:
		o.Nodes = 2
	case NoNodes:
		o.Nodes = 0
	}
	if o.Disks == nil {
		o.Disks = DefaultDisks
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	dir, err := resolve(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &start{Options: o, root: root, dir: dir}
	if s.parts, err = newPreparation(ctx, root, o.Berth); err != nil {
		return nil, err
	}
	return s, nil
}

// prepare checks everything before it changes anything, then makes the
// directory and its record.
func (s *start) prepare(ctx context.Context) error {
	disks, err := records(s.Disks)
	if err != nil {
		return err
	}
	old, err := state.Load(s.dir)
	switch {
	case err == nil && old.Supervisor.Alive() && old.Launcher.PID == 0:
		return fmt.Errorf("starting the cluster in %s: %w", s.dir, ErrRuns)
	case err == nil && old.Launcher.Alive():
		return fmt.Errorf("starting the cluster in %s: process %d is starting it", s.dir, old.Launcher.PID)
	case errors.Is(err, state.ErrNone):
		if err := teardown.CheckEmpty(s.dir); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	cold := len(s.parts.missing) > 0
	if err := preflight.Check(preflight.Machine(s.dir, s.parts.builder.Cache), cold); err != nil {
		return err
	}
	packages, err := preflight.MissingPackages(ctx, false)
	if err != nil {
		return err
	}
	if old != nil {
		fmt.Fprintln(s.Out, "taking away what an interrupted start left")
		if err := Down(s.dir); err != nil {
			return err
		}
	}
	if err := s.record(disks); err != nil {
		return err
	}
	steps := s.parts.steps()
	if len(packages) > 0 {
		fmt.Fprintf(s.Out, "installing Debian packages: %s\n", join(packages))
		if err := preflight.Install(ctx, packages); err != nil {
			return err
		}
	}
	s.line = progress.New(s.Out, append(steps, stepOwn, "images", "network", stepControl, stepNodes, stepReady)...)
	return nil
}

// run builds and starts.
func (s *start) run(ctx context.Context) error {
	var err error
	if s.state.Programs, err = s.parts.build(ctx, s.line, s.dir); err != nil {
		return err
	}
	s.line.Step()
	if s.state.Images, err = stockImages(ctx, s.dir); err != nil {
		return err
	}
	if s.Berth {
		img, err := buildBerth(ctx, s.root, s.dir)
		if err != nil {
			return err
		}
		s.state.Images = append(s.state.Images, img)
	}
	if err := s.state.Save(); err != nil {
		return err
	}
	s.line.Step()
	if err := s.launch(s.parts.program); err != nil {
		return err
	}
	if err := s.follow(ctx); err != nil {
		return err
	}
	s.line.StepTo(stepReady)
	return s.awaitNodes(ctx)
}

// follow waits for the supervisor to have started everything.
func (s *start) follow(ctx context.Context) error {
	client := supervisor.NewClient(s.dir)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("starting the cluster: %w", context.Cause(ctx))
		case <-tick.C:
		}
		if !s.state.Supervisor.Alive() {
			return fmt.Errorf("starting the cluster: the supervisor ended; the end of its log:\n%s",
				process.Tail(s.state.LogDir(), "supervisor", 15))
		}
		st, err := client.Status(ctx)
		switch {
		case err != nil: // its socket is not there yet
		case st.Error != "":
			return errors.New(st.Error)
		case st.Phase == supervisor.Ready:
			return nil
		default:
			s.line.StepTo(st.Phase)
		}
	}
}

func (s *start) awaitNodes(ctx context.Context) error {
	c, err := Attach(s.dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	for i, n := range s.state.Nodes {
		s.line.Detail("%d of %d", i, len(s.state.Nodes))
		if err := c.Node(n.Name).WaitReady(ctx); err != nil {
			return fmt.Errorf("%w; the end of its kubelet's log:\n%s", err,
				process.Tail(c.LogDir(), n.Name+"-kubelet", 15))
		}
	}
	return nil
}
