package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-storage/berth/test/cluster/internal/cgroup"
	"github.com/berth-storage/berth/test/cluster/internal/link"
	"github.com/berth-storage/berth/test/cluster/internal/pki"
	"github.com/berth-storage/berth/test/cluster/internal/process"
	"github.com/berth-storage/berth/test/cluster/internal/state"
)

// Supervisor is a cluster as its owner sees it.
type Supervisor struct {
	group     process.Group // the control plane
	authority *pki.Authority
	cgroups   []cgroup.Hierarchy
	apiReady  chan struct{} // closed when the API server answers

	mu      sync.Mutex // guards all below, and the file of the state
	state   *state.State
	phase   string
	failure error
	lives   map[string]*life
	// busy has a lock a node: what is done to one node is done in order.
	busy map[string]*sync.Mutex
}

// Main runs the supervisor of the cluster in dir. The launcher writes a byte
// to file descriptor 3 once it has recorded the process and joined its network
// to the machine; if the launcher dies first, the supervisor ends.
func Main(dir string) error {
	launcher := os.NewFile(3, "launcher")
	if _, err := io.ReadFull(launcher, make([]byte, 1)); err != nil {
		return fmt.Errorf("waiting for the launcher: %w", err)
	}
	launcher.Close()
	st, err := state.Load(dir)
	if err != nil {
		return err
	}
	s := &Supervisor{
		state: st, phase: "network", apiReady: make(chan struct{}),
		lives: map[string]*life{}, busy: map[string]*sync.Mutex{},
	}
	for _, n := range st.Nodes {
		s.busy[n.Name] = &sync.Mutex{}
	}
	// From here on the supervisor makes everything, and writes the record.
	if err := s.record(func(st *state.State) { st.Launcher = state.Process{} }); err != nil {
		return err
	}
	l, err := listen(dir)
	if err != nil {
		return err
	}
	go func() {
		if err := s.boot(); err != nil {
			slog.Error("start failed", "error", err)
			s.mu.Lock()
			s.failure = err
			s.mu.Unlock()
		}
	}()
	return http.Serve(l, s.handler())
}

// boot starts the control plane and the nodes side by side. A kubelet waits
// for the API server, but containerd and the images need not.
func (s *Supervisor) boot() error {
	var err error
	if s.cgroups, err = cgroup.Hierarchies(); err != nil {
		return err
	}
	if err := cgroup.Switch(s.cgroups, "+", s.state.Enabled); err != nil {
		return err
	}
	control := s.state.Cgroup + "/control"
	if err := cgroup.Make(s.cgroups, control, true); err != nil {
		return err
	}
	if err := cgroup.Enter(s.cgroups, control); err != nil {
		return err
	}
	if err := link.Bridge(s.state.ServerAddress()); err != nil {
		return err
	}
	if err := s.makeKeys(); err != nil {
		return err
	}
	s.enter(ControlPlane)
	var names []string
	for _, n := range s.state.Nodes {
		names = append(names, n.Name)
	}
	errs := make(chan error, len(names)+1)
	go func() { errs <- s.startControlPlane() }()
	for _, name := range names {
		go func() { errs <- s.startNode(name) }()
	}
	for range len(names) + 1 {
		if err := <-errs; err != nil {
			return err
		}
	}
	s.enter(Ready)
	return nil
}

func (s *Supervisor) enter(phase string) {
	slog.Info("phase", "phase", phase)
	s.mu.Lock()
	s.phase = phase
	s.mu.Unlock()
}

// record changes the state and saves it. Everything is recorded before it is
// made.
func (s *Supervisor) record(change func(*state.State)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.state)
	return s.state.Save()
}

// lock reserves a node for one change. ErrNoNode if there is none.
func (s *Supervisor) lock(name string) (unlock func(), err error) {
	s.mu.Lock()
	m := s.busy[name]
	s.mu.Unlock()
	if m == nil {
		return nil, fmt.Errorf("finding node %s: %w", name, ErrNoNode)
	}
	m.Lock()
	return m.Unlock, nil
}

// ErrNoNode says that no node has that name.
var ErrNoNode = errors.New("no such node")

// node copies the record of a node.
func (s *Supervisor) node(name string) state.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := *s.state.Node(name)
	n.Disks = append([]state.Disk(nil), n.Disks...)
	return n
}

func (s *Supervisor) path(parts ...string) string {
	return filepath.Join(append([]string{s.state.Dir}, parts...)...)
}

// How long a component may take to be ready, and how often it may end
// meanwhile; a second try covers a port or a file that was late.
const (
	startPatience = 2 * time.Minute
	mostEnds      = 3
)

// await asks until ready says nil. The error of a component that keeps ending
// comes with the last lines of its log.
func await(what string, failing func() (name string), logDir string, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		if name := failing(); name != "" {
			return fmt.Errorf("starting %s: it keeps ending; the end of its log:\n%s", name, process.Tail(logDir, name, 15))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; the end of its log:\n%s", what, err, process.Tail(logDir, what, 15))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// apiAnswers asks the API server whether it is ready.
func (s *Supervisor) apiAnswers(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", s.path("kubeconfig"))
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.Timeout = 2 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}
