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
	"strings"
	"time"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/bench"
	"github.com/berth-storage/berth/test/cluster/bench/hand"
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
	c, err := cluster.Start(ctx, cluster.Options{Dir: o.dir, Nodes: 1, Disks: []cluster.Disk{}, Out: o.Out})
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
		"The controller manager may make 100 requests a second (200 at once) instead of its default of 20.",
		"Volumes are bind mounts of directories of the machine's own filesystem.",
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
	n := nodes[0]
	self, err := os.Executable()
	if err != nil {
		return bench.Target{}, fmt.Errorf("finding this program: %w", err)
	}
	config := fmt.Sprintf("apiVersion: %s\nkind: %s\nclasses:\n- name: %s\n  hostDir: %s\n",
		api.ConfigVersion, api.ConfigKind, bench.Class, cluster.DisksDir)
	for _, f := range []struct {
		name string
		from func() (io.ReadCloser, error)
	}{
		{"bench", func() (io.ReadCloser, error) { return os.Open(self) }},
		{"berth", func() (io.ReadCloser, error) { return os.Open(berth) }},
		{"kubeconfig", func() (io.ReadCloser, error) { return os.Open(c.Kubeconfig()) }},
		{"agent.yaml", func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(config)), nil }},
	} {
		if err := bring(ctx, n, f.from, work+"/"+f.name); err != nil {
			return bench.Target{}, err
		}
	}
	// The hand ends with its input, not with ctx: it has to clean up first.
	cmd, err := n.Command(context.WithoutCancel(ctx), work+"/bench", handVerb, cluster.DisksDir, work)
	if err != nil {
		return bench.Target{}, err
	}
	return bench.Target{
		Config: c.Config(), Node: n.Name, Hand: cmd,
		Place: hand.Place{Mounts: cluster.DisksDir, Work: work},
		Agent: []string{work + "/berth", "agent", "--node", n.Name, "--config", work + "/agent.yaml",
			"--kubeconfig", work + "/kubeconfig", "--listen", agentAddress},
		ReadyURL: "http://" + agentAddress + "/readyz",
		Spin:     []string{self, spinVerb},
	}, nil
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
