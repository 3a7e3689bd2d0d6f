// Package cluster starts a real Kubernetes on one Linux machine, for demos and
// tests: a control plane and any number of nodes, each in namespaces of its
// own, with loop devices for disks. Everything is built from Go modules and
// nothing is pulled from a registry.
//
// It is a thin layer over the supervisor, the process that owns a cluster and
// outlives the program that started it. The package knows how to install Berth,
// and nothing about what Berth does.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-storage/berth/test/cluster/internal/state"
	"github.com/berth-storage/berth/test/cluster/internal/supervisor"
	"github.com/berth-storage/berth/test/cluster/internal/teardown"
)

// ErrNone says that there is no cluster in the directory.
var ErrNone = state.ErrNone

// Images that every cluster has.
const (
	PauseImage   = supervisor.PauseImage
	BusyboxImage = "localhost/busybox:1"
	BerthImage   = "localhost/berth:dev"
)

// Options say what to start.
type Options struct {
	// Dir is the cluster's directory; .cluster in the repository if empty.
	// Clusters in different directories do not meet.
	Dir string
	// Nodes is how many; 2 if zero, NoNodes for none.
	Nodes int
	// Disks that each node starts with; DefaultDisks if nil, none if empty.
	Disks []Disk
	// Berth builds Berth's image from the work tree and gives it to the nodes,
	// ready for InstallBerth.
	Berth bool
	// StockControllers leaves the controller manager its own limit of 20
	// requests a second, which is raised otherwise.
	StockControllers bool
	// ControllerRate is how many requests a second the controller manager may
	// make, and twice as many at once; 100 if zero.
	ControllerRate int
	// Out is told what goes on; nobody if nil. If it is a terminal, the
	// progress is one line that changes.
	Out io.Writer
}

// NoNodes, as Options.Nodes, is for a control plane alone: for whoever brings a
// node of another kind.
const NoNodes = -1

// Disk describes a disk to give to a node.
type Disk struct {
	Name string
	// FS is ext4, xfs or btrfs, for a disk mounted at /mnt/disks/NAME, or none
	// for a block device linked at /mnt/blocks/NAME.
	FS    string
	Bytes int64
	// Pool mounts the disk at /mnt/pools/NAME instead, where nothing is found.
	Pool bool
}

// DefaultDisks has one disk of each kind, and one for a pool. 512 MiB is the
// least that all three filesystems are at ease with; xfs refuses under 300 MB.
var DefaultDisks = []Disk{
	{Name: "disk-ext4", FS: "ext4", Bytes: 512 << 20},
	{Name: "disk-xfs", FS: "xfs", Bytes: 512 << 20},
	{Name: "disk-btrfs", FS: "btrfs", Bytes: 512 << 20},
	{Name: "disk-raw", FS: supervisor.Raw, Bytes: 256 << 20},
	{Name: PoolName, FS: "btrfs", Bytes: 4 << 30, Pool: true},
}

// Cluster is a running cluster. Its methods may be called from several
// goroutines.
type Cluster struct {
	dir    string
	root   string // of the repository
	out    io.Writer
	client *supervisor.Client
	config *rest.Config
	kube   kubernetes.Interface
}

// Attach finds the cluster that runs in a directory, given by its path or by
// that of the kubeconfig in it. ErrNone if there is none.
func Attach(path string) (*Cluster, error) {
	path, err := resolve(path)
	if err != nil {
		return nil, err
	}
	if filepath.Base(path) == "kubeconfig" {
		path = filepath.Dir(path)
	}
	st, err := state.Load(path)
	if err != nil {
		return nil, err
	}
	if !st.Supervisor.Alive() {
		return nil, fmt.Errorf("attaching to the cluster in %s: its supervisor is gone, `cluster down` takes the rest away", path)
	}
	root, err := FindRoot()
	if err != nil && !errors.Is(err, ErrNoRoot) {
		return nil, err
	}
	c := &Cluster{dir: path, root: root, out: io.Discard, client: supervisor.NewClient(path)}
	return c, c.connect()
}

// connect makes the clients from the kubeconfig.
func (c *Cluster) connect() error {
	var err error
	if c.config, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig()); err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	// A test's own requests should not wait in its client.
	c.config.QPS = -1
	if c.kube, err = kubernetes.NewForConfig(c.config); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	return nil
}

// Dir is the cluster's directory.
func (c *Cluster) Dir() string { return c.dir }

// Kubeconfig is the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

// Config is for clients of any kind; a copy. It has no limit of requests.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Client is an administrator's client without a limit of requests.
func (c *Cluster) Client() kubernetes.Interface { return c.kube }

// Program is the path of one of the cluster's programs: kubectl, helm, ctr, ….
func (c *Cluster) Program(name string) string { return filepath.Join(c.dir, "bin", name) }

// LogDir has one log a component: kube-apiserver.log, node-1-kubelet.log, ….
func (c *Cluster) LogDir() string { return filepath.Join(c.dir, "logs") }

// Status is what the supervisor knows: phases, components, nodes and disks.
type Status = supervisor.Status

// Status asks the supervisor.
func (c *Cluster) Status(ctx context.Context) (*Status, error) {
	return c.client.Status(ctx)
}

// Nodes lists the nodes that are not lost.
func (c *Cluster) Nodes(ctx context.Context) ([]*Node, error) {
	st, err := c.client.Status(ctx)
	if err != nil {
		return nil, err
	}
	var nodes []*Node
	for _, n := range st.Nodes {
		if n.Status != state.Lost {
			nodes = append(nodes, c.Node(n.Name))
		}
	}
	return nodes, nil
}

// AddNode adds a node and waits until it is Ready. The name may be empty, or
// that of a lost node, which then comes back empty but for disks that were kept.
func (c *Cluster) AddNode(ctx context.Context, name string, disks ...Disk) (*Node, error) {
	records, err := records(disks)
	if err != nil {
		return nil, err
	}
	st, err := c.client.AddNode(ctx, supervisor.NewNode{Name: name, Disks: records})
	if err != nil {
		return nil, err
	}
	n := c.Node(st.Name)
	return n, n.WaitReady(ctx)
}

// Down stops the cluster and removes all that it made; nothing of it is left
// on the machine. It does the same for what an interruption left.
func (c *Cluster) Down() error { return Down(c.dir) }

// Down stops the cluster in a directory. ErrNone if there is none, after
// removing what is left of one there.
func Down(dir string) error {
	dir, err := resolve(dir)
	if err != nil {
		return err
	}
	return teardown.Down(dir)
}

func records(disks []Disk) ([]state.Disk, error) {
	var all []state.Disk
	for _, d := range disks {
		r := state.Disk{Name: d.Name, FS: d.FS, Bytes: d.Bytes, Pool: d.Pool}
		if err := supervisor.CheckDisk(r); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(o state.Disk) bool { return o.Name == d.Name }) {
			return nil, fmt.Errorf("adding disk %q: there are two of that name", d.Name)
		}
		all = append(all, r)
	}
	return all, nil
}

// poll asks until done or the context ends; the last error says what for.
func poll(ctx context.Context, what string, done func() error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := done()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w: %w", what, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
