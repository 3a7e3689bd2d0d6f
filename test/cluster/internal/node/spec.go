// Package node is a node's inside: the first process of its namespaces, which
// gives it a root directory of its own, runs containerd, kubelet and
// kube-proxy, and mounts disks when told to.
//
// A node has its own PID, mount, network, IPC and host name namespaces, so all
// of it ends with its first process, as in a power cut, and nothing of it
// shows on the machine. It shares the machine's kernel, /dev and clock. The
// package decides nothing: the supervisor does, outside.
package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/berth-storage/berth/test/cluster/internal/process"
)

// Spec is all that a node needs to come up. Paths are the machine's.
type Spec struct {
	Name string `json:"name"`
	// Dir holds what survives a power cut (var, mnt), and the configuration.
	Dir      string            `json:"dir"`
	LogDir   string            `json:"logDir"`
	Programs map[string]string `json:"programs"`
	Cgroup   string            `json:"cgroup"`
	Address  string            `json:"address"`
	Gateway  string            `json:"gateway"`
	// Routes are the ranges of other nodes' pods, with those nodes' addresses.
	Routes    map[string]string `json:"routes"`
	BootID    string            `json:"bootID"`
	MachineID string            `json:"machineID"`
}

// Where things are inside a node.
const (
	ProgramDir = "/opt/bin"
	ConfigDir  = "/opt/node"
	DisksDir   = "/mnt/disks"
	BlocksDir  = "/mnt/blocks"
	PoolsDir   = "/mnt/pools"
	Containerd = "/run/containerd/containerd.sock"
)

// Request is one thing for the first process to do.
type Request struct {
	Do string `json:"do"`
	// Component to start.
	Component string `json:"component,omitempty"`
	// Source, Target, FS of a mount or a link.
	Source string            `json:"source,omitempty"`
	Target string            `json:"target,omitempty"`
	FS     string            `json:"fs,omitempty"`
	Force  bool              `json:"force,omitempty"`
	Routes map[string]string `json:"routes,omitempty"`
}

// What a Request can ask for.
const (
	DoNetwork = "network" // configure eth0, once it is there
	DoRoutes  = "routes"
	DoStart   = "start"
	DoMount   = "mount"
	DoUnmount = "unmount"
	DoLink    = "link"
	DoUnlink  = "unlink"
	DoStatus  = "status"
)

// Reply answers a Request.
type Reply struct {
	Error  string           `json:"error,omitempty"`
	PID    int              `json:"pid,omitempty"` // of the first process, as the machine counts
	At     time.Time        `json:"at,omitzero"`   // when a mount or link was made
	Status []process.Status `json:"status,omitempty"`
}

// Conn is the supervisor's end of the line to a node's first process.
type Conn struct {
	mu  sync.Mutex // guards the line: one request at a time
	in  *json.Decoder
	out *json.Encoder
	c   io.Closer
}

// NewConn uses the open line.
func NewConn(line io.ReadWriteCloser) *Conn {
	return &Conn{in: json.NewDecoder(line), out: json.NewEncoder(line), c: line}
}

// Hello waits for the first process to be ready for requests.
func (c *Conn) Hello() (Reply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.receive()
}

// Ask sends a request and waits for its reply.
func (c *Conn) Ask(r Request) (Reply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.out.Encode(r); err != nil {
		return Reply{}, fmt.Errorf("asking the node: %w", err)
	}
	return c.receive()
}

// ErrBusy says that the node does something else at the moment.
var ErrBusy = errors.New("the node is busy")

// TryAsk is Ask, but for a node that is busy, which may take as long as a sick
// disk does, it says ErrBusy.
func (c *Conn) TryAsk(r Request) (Reply, error) {
	if !c.mu.TryLock() {
		return Reply{}, ErrBusy
	}
	defer c.mu.Unlock()
	if err := c.out.Encode(r); err != nil {
		return Reply{}, fmt.Errorf("asking the node: %w", err)
	}
	return c.receive()
}

func (c *Conn) receive() (Reply, error) {
	var reply Reply
	if err := c.in.Decode(&reply); err != nil {
		return Reply{}, fmt.Errorf("asking the node: %w", err)
	}
	if reply.Error != "" {
		return reply, fmt.Errorf("on the node: %s", reply.Error)
	}
	return reply, nil
}

// Close ends the line; the first process ends with it.
func (c *Conn) Close() error { return c.c.Close() }
