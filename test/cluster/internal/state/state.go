// Package state is the cluster's record of what it makes on the machine: one
// JSON file, written before each thing is made, from which everything can be
// found and taken away again after an interruption at any point.
//
// It only records. Making is the supervisor's work, taking away the package
// teardown's. The file has one writer at a time: the launcher until the
// supervisor is told to go, the supervisor from then on, and teardown once
// the supervisor is dead.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// File is the record's name in the cluster's directory.
const File = "state.json"

// version changes when a file can no longer be read by this code.
const version = 1

// ErrNone says that the directory holds no record of a cluster.
var ErrNone = errors.New("no cluster recorded")

// State is all that a cluster has made outside its own directory, and what is
// needed to make it the same way again.
type State struct {
	Version int    `json:"version"`
	ID      string `json:"id"`  // hash of Dir; part of the names of links and cgroups
	Dir     string `json:"dir"` // absolute
	// Launcher is the process of `up`; Supervisor the one that owns all others.
	// The supervisor is the first process of a PID and a network namespace, so
	// its death takes every process, mount and link of the cluster along.
	Launcher   Process `json:"launcher"`
	Supervisor Process `json:"supervisor"`
	// Link is the one network device in the machine's own namespace, Prefix the
	// first three bytes of its /24.
	Link   string `json:"link"`
	Prefix string `json:"prefix"`
	// Cgroup is the folder made in every cgroup hierarchy. Enabled names
	// controllers switched on in the root of a v2 hierarchy for the cluster.
	Cgroup  string   `json:"cgroup"`
	Enabled []string `json:"enabled,omitempty"`

	StockControllers bool              `json:"stockControllers,omitempty"`
	ControllerRate   int               `json:"controllerRate,omitempty"` // requests a second; 0 for the usual
	Programs         map[string]string `json:"programs"`                 // name to absolute path
	Kubernetes       string            `json:"kubernetesVersion"`
	Nodes            []Node            `json:"nodes"`
	Images           []Image           `json:"images"`
}

// Node is one node, kept after a stop and after a loss.
type Node struct {
	Name   string `json:"name"`
	Index  int    `json:"index"` // 1, 2, …: its address and its pods' range
	Status string `json:"status"`
	Disks  []Disk `json:"disks"`
}

// What a node can be.
const (
	Running = "running"
	Stopped = "stopped"
	Lost    = "lost"
)

// Disk is a loop device on a file, given to one node.
type Disk struct {
	Name  string `json:"name"`
	FS    string `json:"fs"` // ext4, xfs, btrfs, or none for a raw device
	Bytes int64  `json:"bytes"`
	Pool  bool   `json:"pool,omitempty"` // mounted apart from the others
	File  string `json:"file"`           // the loop device is found by it
	Loop  string `json:"loop,omitempty"` // /dev/loopN while attached
}

// Image is an archive that every node's containerd is given.
type Image struct {
	Name   string `json:"name"`
	File   string `json:"file"`
	Digest string `json:"digest"`
}

// New is the record of a cluster that is about to be made in dir.
func New(dir string) *State {
	h := fnv.New32a()
	h.Write([]byte(dir))
	id := fmt.Sprintf("%08x", h.Sum32())
	return &State{
		Version: version, ID: id, Dir: dir,
		Link: "berth" + id, Cgroup: "berth-" + id,
		Programs: map[string]string{},
	}
}

// Load reads the record in dir; ErrNone if there is none.
func Load(dir string) (*State, error) {
	data, err := os.ReadFile(filepath.Join(dir, File))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("reading cluster state: %w", err)
	}
	s := &State{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("reading %s: %w", filepath.Join(dir, File), err)
	}
	if s.Version != version {
		return nil, fmt.Errorf("reading %s: version %d, this program knows %d", filepath.Join(dir, File), s.Version, version)
	}
	if s.Dir != dir {
		return nil, fmt.Errorf("reading %s: it was made for %s; move the directory back", filepath.Join(dir, File), s.Dir)
	}
	return s, nil
}

// Save replaces the record. A crash leaves the old one or the new one.
func (s *State) Save() error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("writing cluster state: %w", err)
	}
	path := filepath.Join(s.Dir, File)
	if err := replace(path, append(data, '\n')); err != nil {
		return fmt.Errorf("writing cluster state: %w", err)
	}
	return nil
}

func replace(path string, data []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Node is the record of the named node, or nil.
func (s *State) Node(name string) *Node {
	for i := range s.Nodes {
		if s.Nodes[i].Name == name {
			return &s.Nodes[i]
		}
	}
	return nil
}

// Disk is the record of the named disk, or nil.
func (n *Node) Disk(name string) *Disk {
	for i := range n.Disks {
		if n.Disks[i].Name == name {
			return &n.Disks[i]
		}
	}
	return nil
}

// Address is the node's own address.
func (s *State) Address(n *Node) string { return fmt.Sprintf("%s.%d", s.Prefix, 10+n.Index) }

// PodRange is the range of addresses of the node's pods.
func (n *Node) PodRange() string { return fmt.Sprintf("10.244.%d.0/24", n.Index) }

// HostAddress is the machine's own address on the cluster's network,
// ServerAddress the control plane's.
func (s *State) HostAddress() string   { return s.Prefix + ".1" }
func (s *State) ServerAddress() string { return s.Prefix + ".2" }

// NodeDir holds what is one node's.
func (s *State) NodeDir(name string) string { return filepath.Join(s.Dir, "nodes", name) }

// LogDir holds one log a component.
func (s *State) LogDir() string { return filepath.Join(s.Dir, "logs") }

// Lock keeps two programs from starting or stopping the same cluster at once.
// It is released by closing the file, and so by any death of the holder.
func Lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the cluster: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking the cluster in %s, which another command is starting or stopping: %w", dir, err)
	}
	return f, nil
}
