package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/bench"
	"github.com/berth-storage/berth/test/cluster/bench/hand"
	"github.com/berth-storage/berth/test/cluster/internal/preflight"
)

// options are what the command line says.
type options struct {
	bench.Options
	dir, berth string
}

// work is the benchmark's directory in the node.
const work = "/var/lib/bench"

// agentAddress is where the agent listens, in the node's own network.
const agentAddress = "127.0.0.1:18080"

// controllerRate is the controller manager's limit. It makes four requests for
// a claim that is bound: at 100 a second it would bind 25 claims a second,
// whoever makes their volumes.
const controllerRate = 1000

// run starts a cluster, measures, and takes the cluster away again.
func run(ctx context.Context, o options) (err error) {
	root, err := cluster.FindRoot()
	if err != nil {
		return err
	}
	if o.dir == "" {
		o.dir = filepath.Join(root, "bench", "cluster")
	}
	if o.berth == "" {
		o.berth = filepath.Join(root, "bin", "berth")
		if err := build(ctx, root, o.berth); err != nil {
			return err
		}
	}
	if err := prepareFio(ctx, o); err != nil {
		return err
	}
	c, err := cluster.Start(ctx, cluster.Options{Dir: o.dir, Nodes: 1, Disks: []cluster.Disk{}, ControllerRate: controllerRate, Out: o.Out})
	if errors.Is(err, cluster.ErrRuns) {
		return fmt.Errorf("%w: another benchmark is at work; wait for it, or give this one a directory with -dir", err)
	}
	defer func() { err = errors.Join(err, down(o.dir)) }()
	if err != nil {
		return err
	}
	t, err := target(ctx, c, o.berth)
	if err != nil {
		return err
	}
	result := bench.Result{At: time.Now(), Machine: machine(), Notes: notes(o)}
	fmt.Fprintf(o.Out, "\n%s\n", strings.Join(result.Notes, "\n"))
	var failed error
	result.Figures, failed = bench.Run(ctx, t, o.Options)
	if failed != nil {
		result.Failed = failed.Error()
	}
	bench.Table(o.Out, result.Figures)
	path, err := result.Write(filepath.Join(root, "bench", "out"))
	if err == nil {
		fmt.Fprintf(o.Out, "\nwritten to %s\n", path)
	}
	return errors.Join(failed, err)
}

func down(dir string) error {
	err := cluster.Down(dir)
	if errors.Is(err, cluster.ErrNone) {
		return nil
	}
	return err
}

// prepareFio installs fio, which the nodes then see among the machine's
// programs, if its figures are to be taken.
func prepareFio(ctx context.Context, o options) error {
	if len(o.Only) > 0 && !slices.Contains(o.Only, bench.Fio) {
		return nil
	}
	if _, err := exec.LookPath("fio"); err == nil {
		return nil
	}
	fmt.Fprintln(o.Out, "installing Debian packages: fio")
	return preflight.Install(ctx, []string{"fio"})
}

// build builds berth as `make build` does.
func build(ctx context.Context, root, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", to, "./cmd/berth")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building berth: %w\n%s", err, out)
	}
	return nil
}

func notes(o options) []string {
	all := []string{
		fmt.Sprintf("On %s, on a cluster of its own with 1 node; median of %d rounds.", machine(), o.Rounds),
		"The bare client makes the same objects with 8 workers, or with one where things come one by one.",
		fmt.Sprintf("The controller manager may make %d requests a second (%d at once) instead of its default of 20.", controllerRate, 2*controllerRate),
		"Found volumes are bind mounts of directories of the machine's own filesystem; carved ones subvolumes of a btrfs in a sparse file there, for fio in memory.",
		"With WaitForFirstConsumer kube-scheduler looks for a volume only 1 s after it has chosen the node, whoever makes it; a PV made at once shows that floor.",
		"Pods that start, and the memory of mounted volumes, are measured once, with as many as the figure's name or rounds say.",
		strings.ToUpper(bench.LoadWords[:1]) + bench.LoadWords[1:] + ".",
	}
	if o.Quick {
		all = append(all, "Quick: fewer of everything; the limits are not meant for these figures.")
	}
	return all
}

func machine() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		release = []byte("unknown")
	}
	return fmt.Sprintf("%d cores, Linux %s, %s", runtime.NumCPU(), strings.TrimSpace(string(release)), runtime.GOARCH)
}

// target brings the programs and files into the node.
func target(ctx context.Context, c *cluster.Cluster, berth string) (bench.Target, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return bench.Target{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return bench.Target{}, fmt.Errorf("finding this program: %w", err)
	}
	n, err := furnish(ctx, c, nodes[0], self, berth)
	if err != nil {
		return bench.Target{}, err
	}
	return bench.Target{
		Config: c.Config(), Node: n.Node, Hand: n.Hand, Place: n.Place,
		Agent:  agent(n.Node, "agent.yaml"),
		Carver: n.Carver,
		Placer: []string{work + "/berth", "controller", "--placement", "--leader-elect=false", "--kubeconfig", work + "/kubeconfig", "--listen-address", ""},
		Join: func(ctx context.Context) (bench.Joined, func(context.Context) error, error) {
			return join(ctx, c, self, berth)
		},
		ReadyURL: "http://" + agentAddress + "/readyz",
		Spin:     []string{self, spinVerb},
	}, nil
}

// join adds a node to the cluster, and takes it away again in the end.
func join(ctx context.Context, c *cluster.Cluster, self, berth string) (n bench.Joined, leave func(context.Context) error, err error) {
	node, err := c.AddNode(ctx, "")
	if err != nil {
		return n, nil, err
	}
	leave = func(ctx context.Context) error {
		if err := node.Lose(ctx, false); err != nil {
			return err
		}
		return c.Client().CoreV1().Nodes().Delete(ctx, node.Name, metav1.DeleteOptions{})
	}
	if n, err = furnish(ctx, c, node, self, berth); err != nil {
		return n, nil, errors.Join(err, leave(ctx))
	}
	return n, leave, nil
}

// agent is the agent's command line with a configuration.
func agent(node, config string) []string {
	return []string{work + "/berth", "agent", "--node", node, "--config", work + "/" + config, "--kubeconfig", work + "/kubeconfig", "--listen", agentAddress}
}

// furnish brings programs and files into a node.
func furnish(ctx context.Context, c *cluster.Cluster, n *cluster.Node, self, berth string) (bench.Joined, error) {
	place := hand.Place{Mounts: cluster.DisksDir, Work: work}
	head := fmt.Sprintf("apiVersion: %s\nkind: %s\n", api.ConfigVersion, api.ConfigKind)
	found := head + fmt.Sprintf("classes:\n- name: %s\n  hostDir: %s\n", bench.Class, cluster.DisksDir)
	carved := head + fmt.Sprintf("pools:\n- name: bench\n  kind: btrfs\n  path: %s\n", place.PoolDir())
	text := func(s string) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
	}
	for _, f := range []struct {
		name string
		from func() (io.ReadCloser, error)
	}{
		{"bench", func() (io.ReadCloser, error) { return os.Open(self) }},
		{"berth", func() (io.ReadCloser, error) { return os.Open(berth) }},
		{"kubeconfig", func() (io.ReadCloser, error) { return os.Open(c.Kubeconfig()) }},
		{"agent.yaml", text(found)},
		{"pool.yaml", text(carved)},
	} {
		if err := bring(ctx, n, f.from, work+"/"+f.name); err != nil {
			return bench.Joined{}, err
		}
	}
	// The hand ends with its input, not with ctx: it has to clean up first.
	cmd, err := n.Command(context.WithoutCancel(ctx), work+"/bench", handVerb, cluster.DisksDir, work)
	if err != nil {
		return bench.Joined{}, err
	}
	return bench.Joined{Node: n.Name, Hand: cmd, Place: place,
		Carver: append(agent(n.Name, "pool.yaml"), "--kubelet-dir", "/var/lib/kubelet", "--namespace", "default")}, nil
}

// bring copies a file into the node.
func bring(ctx context.Context, n *cluster.Node, from func() (io.ReadCloser, error), to string) error {
	in, err := from()
	if err != nil {
		return fmt.Errorf("bringing files into the node: %w", err)
	}
	defer in.Close()
	cmd, err := n.Command(ctx, "sh", "-c", `mkdir -p "${0%/*}" && cat >"$0" && chmod 700 "$0"`, to)
	if err != nil {
		return err
	}
	cmd.Stdin = in
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("bringing %s into the node: %w: %s", to, err, out)
	}
	return nil
}
