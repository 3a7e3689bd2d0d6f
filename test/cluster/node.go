package cluster

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/test/cluster/internal/node"
	"github.com/berth-storage/berth/test/cluster/internal/supervisor"
)

// Where a node shows its disks.
const (
	DisksDir  = node.DisksDir
	BlocksDir = node.BlocksDir
	PoolsDir  = node.PoolsDir
)

// NodeLease is how long the Lease of a node counts once it is not renewed.
const NodeLease = node.Lease

// Node is a node of a cluster, by name; it need not exist.
type Node struct {
	Name string
	c    *Cluster
}

// Node is the node of that name.
func (c *Cluster) Node(name string) *Node { return &Node{Name: name, c: c} }

// AddDisk gives the node a new disk and returns its device, and the moment
// when its mount, or the link to it, appeared in the node. A disk that was
// removed with KeepData is the same disk again; its FS and size must be given
// as they were.
func (n *Node) AddDisk(ctx context.Context, d Disk) (device string, at time.Time, err error) {
	r, err := records([]Disk{d})
	if err != nil {
		return "", time.Time{}, err
	}
	a, err := n.c.client.AddDisk(ctx, n.Name, r[0])
	if err != nil {
		return "", time.Time{}, err
	}
	return a.Disk.Loop, a.At, nil
}

// RemoveOption changes how a disk is removed.
type RemoveOption func(*supervisor.Removal)

// Force takes a mounted disk out of sight under its users, as when it is
// pulled. Without it, a disk in use is not removed.
func Force(r *supervisor.Removal) { r.Force = true }

// KeepData keeps what is on the disk for the next AddDisk of that name.
func KeepData(r *supervisor.Removal) { r.Keep = true }

// RemoveDisk unmounts a disk and takes it from the node.
func (n *Node) RemoveDisk(ctx context.Context, name string, how ...RemoveOption) error {
	var r supervisor.Removal
	for _, h := range how {
		h(&r)
	}
	return n.c.client.RemoveDisk(ctx, n.Name, name, r)
}

// Stop cuts the node's power: kubelet, containerd and pods end at once.
// Disks and /var stay for Start, mounts and /run do not.
func (n *Node) Stop(ctx context.Context) error { return n.c.client.StopNode(ctx, n.Name) }

// Start starts a stopped node. It does not wait until it is Ready.
func (n *Node) Start(ctx context.Context) error { return n.c.client.StartNode(ctx, n.Name) }

// Restart cuts the power, gives it back, and waits until the node has reported
// to be Ready since.
func (n *Node) Restart(ctx context.Context) error {
	st, err := n.status(ctx)
	if err != nil {
		return err
	}
	if st.PID != 0 {
		if err := n.Stop(ctx); err != nil {
			return err
		}
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	return n.WaitReady(ctx)
}

// Lose takes the node away for good. Its Node object stays, since nobody tells
// Kubernetes; delete it to say so. Disks that are kept come back with a node
// added under the same name.
func (n *Node) Lose(ctx context.Context, keepDisks bool) error {
	return n.c.client.LoseNode(ctx, n.Name, supervisor.Loss{KeepDisks: keepDisks})
}

// Command prepares a command that runs inside the node, in all its namespaces:
// it sees the node's mounts, processes and network. Paths of programs are the
// machine's, or those of the cluster's own in /opt/bin.
func (n *Node) Command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	st, err := n.status(ctx)
	if err != nil {
		return nil, err
	}
	if st.PID == 0 {
		return nil, fmt.Errorf("entering node %s: it does not run", n.Name)
	}
	enter := []string{"--target", strconv.Itoa(st.PID), "--mount", "--pid", "--net", "--uts", "--ipc", "--wd=/", "--"}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	cmd.Env = []string{
		"PATH=" + node.ProgramDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "TERM=dumb",
	}
	cmd.WaitDelay = time.Second
	return cmd, nil
}

// Exec runs a command inside the node and returns what it prints. An error has
// what it said.
func (n *Node) Exec(ctx context.Context, args ...string) (string, error) {
	cmd, err := n.Command(ctx, args...)
	if err != nil {
		return "", err
	}
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		said := ""
		if errors.As(err, &exit) {
			said = string(exit.Stderr)
		}
		return string(out), fmt.Errorf("running %q on %s: %w: %s", args, n.Name, err, said)
	}
	return string(out), nil
}

func (n *Node) status(ctx context.Context) (*supervisor.NodeStatus, error) {
	st, err := n.c.client.Status(ctx)
	if err != nil {
		return nil, err
	}
	for i := range st.Nodes {
		if st.Nodes[i].Name == n.Name {
			return &st.Nodes[i], nil
		}
	}
	return nil, fmt.Errorf("finding node %s: %w", n.Name, supervisor.ErrNoNode)
}

// WaitReady waits until the API server says that the node is Ready, on a word
// of the kubelet that runs now and not of an earlier one.
func (n *Node) WaitReady(ctx context.Context) error {
	boot, err := n.Exec(ctx, "cat", "/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	return poll(ctx, "node "+n.Name+" to be Ready", func() error {
		object, err := n.c.kube.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the node: %w", err)
		}
		if id := object.Status.NodeInfo.BootID; id+"\n" != boot {
			return errors.New("its kubelet has not reported")
		}
		return ready(object, corev1.ConditionTrue)
	})
}

// WaitNotReady waits until Kubernetes has noticed that the node is gone: about
// 12 s after a Stop.
func (n *Node) WaitNotReady(ctx context.Context) error {
	return poll(ctx, "node "+n.Name+" not to be Ready", func() error {
		object, err := n.c.kube.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the node: %w", err)
		}
		if ready(object, corev1.ConditionTrue) == nil {
			return errors.New("it is Ready")
		}
		return nil
	})
}

func ready(object *corev1.Node, want corev1.ConditionStatus) error {
	for _, cond := range object.Status.Conditions {
		if cond.Type == corev1.NodeReady {
			if cond.Status == want {
				return nil
			}
			return fmt.Errorf("its condition Ready is %s: %s", cond.Status, cond.Message)
		}
	}
	return errors.New("it has no Ready condition")
}
