// Package supervisor is the one process that owns a running cluster. It is the
// first process of a PID and a network namespace, starts the control plane and
// the nodes, keeps them running, and does what it is asked on a socket in the
// cluster's directory.
//
// When it dies, the kernel ends every process, mount and network device of the
// cluster with it; what then remains is listed in the state file and is taken
// away by package teardown, not here.
package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/berth-storage/berth/test/cluster/internal/process"
	"github.com/berth-storage/berth/test/cluster/internal/state"
)

// socket is the name of the supervisor's socket in the cluster's directory.
const socket = "supervisor.sock"

// Status is what the supervisor knows of the cluster.
type Status struct {
	// Phase says what a start waits for, and is Ready when it is over. Error
	// is set when the start has failed.
	Phase      string           `json:"phase"`
	Error      string           `json:"error,omitempty"`
	Components []process.Status `json:"components"`
	Nodes      []NodeStatus     `json:"nodes"`
}

// Phases of a start, in order. Ready is that of a cluster that has started.
const (
	ControlPlane = "control plane"
	Nodes        = "nodes"
	Ready        = "ready"
)

// NodeStatus is what the supervisor knows of a node.
type NodeStatus struct {
	Name    string `json:"name"`
	Status  string `json:"status"` // running, stopped, lost
	Address string `json:"address"`
	// PID is the node's first process, as the machine counts; 0 while the node
	// does not run. Its namespaces are the node's.
	PID        int              `json:"pid,omitempty"`
	Components []process.Status `json:"components,omitempty"`
	Disks      []state.Disk     `json:"disks"`
}

// NewNode asks for a node.
type NewNode struct {
	Name string `json:"name,omitempty"` // the next free one if empty
	// Disks to make, besides those that a lost node of that name left.
	Disks []state.Disk `json:"disks"`
}

// Loss says how a node is lost.
type Loss struct {
	KeepDisks bool `json:"keepDisks"`
}

// Removal says how a disk is removed.
type Removal struct {
	// Force detaches a mounted disk under its users, as when it is pulled.
	Force bool `json:"force"`
	// Keep keeps its file: a disk added under the same name is the same disk.
	Keep bool `json:"keep"`
}

// Added says what became of a disk.
type Added struct {
	Disk state.Disk `json:"disk"`
	// At is the moment when the mount, or the link to the device, was there.
	At time.Time `json:"at"`
}

// Client asks the supervisor of the cluster in a directory.
type Client struct{ dir string }

// NewClient is a client for the cluster in dir. It does not connect yet.
func NewClient(dir string) *Client { return &Client{dir: dir} }

// Status asks for the state of the cluster.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	s := &Status{}
	return s, c.call(ctx, http.MethodGet, "/status", nil, s)
}

// AddNode makes a node and starts it.
func (c *Client) AddNode(ctx context.Context, n NewNode) (*NodeStatus, error) {
	s := &NodeStatus{}
	return s, c.call(ctx, http.MethodPost, "/nodes", n, s)
}

// StopNode cuts a node's power, StartNode gives it back.
func (c *Client) StopNode(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodPost, "/nodes/"+name+"/stop", nil, nil)
}

// StartNode starts a stopped node.
func (c *Client) StartNode(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodPost, "/nodes/"+name+"/start", nil, nil)
}

// LoseNode takes a node away for good.
func (c *Client) LoseNode(ctx context.Context, name string, l Loss) error {
	return c.call(ctx, http.MethodPost, "/nodes/"+name+"/lose", l, nil)
}

// AddDisk gives a node a disk.
func (c *Client) AddDisk(ctx context.Context, node string, d state.Disk) (*Added, error) {
	a := &Added{}
	return a, c.call(ctx, http.MethodPost, "/nodes/"+node+"/disks", d, a)
}

// RemoveDisk takes a disk from a node.
func (c *Client) RemoveDisk(ctx context.Context, node, disk string, r Removal) error {
	return c.call(ctx, http.MethodDelete, "/nodes/"+node+"/disks/"+disk, r, nil)
}

// LoadImage gives an image to every node, now and later.
func (c *Client) LoadImage(ctx context.Context, i state.Image) error {
	return c.call(ctx, http.MethodPost, "/images", i, nil)
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("asking the supervisor: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking the supervisor: %w", err)
	}
	h := http.Client{Transport: &http.Transport{DialContext: c.dial, DisableKeepAlives: true}}
	resp, err := h.Do(req)
	if err != nil {
		return fmt.Errorf("asking the supervisor: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("asking the supervisor: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(string(bytes.TrimSpace(data)))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("asking the supervisor: %w", err)
	}
	return nil
}

func (c *Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	d, err := os.Open(c.dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return new(net.Dialer).DialContext(ctx, "unix", shortPath(d))
}

// shortPath is the socket's path in the open directory, short enough for a
// socket's address whatever the directory's own path.
func shortPath(dir *os.File) string {
	return filepath.Join("/proc/self/fd", fmt.Sprint(dir.Fd()), socket)
}
