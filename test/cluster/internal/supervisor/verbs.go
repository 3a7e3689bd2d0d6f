package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/berth-storage/berth/test/cluster/internal/cgroup"
	"github.com/berth-storage/berth/test/cluster/internal/loop"
	"github.com/berth-storage/berth/test/cluster/internal/node"
	"github.com/berth-storage/berth/test/cluster/internal/state"
	"github.com/berth-storage/berth/test/cluster/internal/teardown"
)

// stopPatience is how long the kernel may take to end a node's processes, and
// to let go of what they used.
const stopPatience = 20 * time.Second

// stopNode cuts a node's power: every process of it ends at once, mounts and
// /run are gone; its disks and /var stay.
func (s *Supervisor) stopNode(name string) error {
	unlock, err := s.lock(name)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.cutPower(name); err != nil {
		return err
	}
	return s.record(func(st *state.State) {
		if n := st.Node(name); n.Status == state.Running {
			n.Status = state.Stopped
		}
	})
}

func (s *Supervisor) cutPower(name string) error {
	if l, err := s.life(name); err == nil {
		if err := l.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stopping node %s: %w", name, err)
		}
		select {
		case <-l.done:
		case <-time.After(stopPatience):
			return fmt.Errorf("stopping node %s: processes are left after %s", name, stopPatience)
		}
	}
	return cgroup.Remove(s.cgroups, s.state.Cgroup+"/"+name, stopPatience)
}

// restartNode starts a node that was stopped or has failed.
func (s *Supervisor) restartNode(name string) error {
	unlock, err := s.lock(name)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := s.life(name); err == nil {
		return fmt.Errorf("starting node %s: it runs", name)
	}
	if s.node(name).Status == state.Lost {
		return fmt.Errorf("starting node %s: it is lost; add a node", name)
	}
	return s.bringUp(name)
}

// loseNode takes a node away for good: its power, its system and, unless kept,
// its disks. The Node object stays, as it does when a machine burns.
func (s *Supervisor) loseNode(name string, l Loss) error {
	unlock, err := s.lock(name)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.cutPower(name); err != nil {
		return err
	}
	n := s.node(name)
	for _, d := range n.Disks {
		if err := loop.Detach(d.Loop, d.File, stopPatience); err != nil {
			return err
		}
		if l.KeepDisks {
			continue
		}
		if err := os.Remove(d.File); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing disk %s: %w", d.Name, err)
		}
	}
	if err := teardown.RemoveTree(s.state.NodeDir(name)); err != nil {
		return fmt.Errorf("removing node %s: %w", name, err)
	}
	return s.record(func(st *state.State) {
		n := st.Node(name)
		n.Status = state.Lost
		for i := range n.Disks {
			n.Disks[i].Loop = ""
		}
		if !l.KeepDisks {
			n.Disks = nil
		}
	})
}

// addNode makes a node and starts it. Under the name of a lost one it is that
// machine, installed anew, with the disks that were kept.
func (s *Supervisor) addNode(req NewNode) (*NodeStatus, error) {
	<-s.apiReady
	err := s.record(func(st *state.State) {
		if req.Name == "" {
			req.Name = freeName(st)
		}
		old := st.Node(req.Name)
		if old == nil {
			st.Nodes = append(st.Nodes, state.Node{Name: req.Name, Index: len(st.Nodes) + 1})
			old = &st.Nodes[len(st.Nodes)-1]
			s.busy[req.Name] = &sync.Mutex{}
		} else if old.Status != state.Lost {
			req.Name = ""
			return
		}
		old.Status = state.Running
		for _, d := range req.Disks {
			if old.Disk(d.Name) == nil {
				d.File = s.diskFile(old.Name, d.Name)
				old.Disks = append(old.Disks, d)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	if req.Name == "" {
		return nil, errors.New("adding a node: one of that name exists")
	}
	if err := s.startNode(req.Name); err != nil {
		return nil, err
	}
	s.tellRoutes()
	for _, n := range s.status().Nodes {
		if n.Name == req.Name {
			return &n, nil
		}
	}
	return nil, fmt.Errorf("adding node %s: %w", req.Name, ErrNoNode)
}

func freeName(st *state.State) string {
	for i := 1; ; i++ {
		if name := fmt.Sprintf("node-%d", i); st.Node(name) == nil {
			return name
		}
	}
}

// tellRoutes tells the running nodes the way to each other's pods. A node that
// ends meanwhile reads them when it starts again.
func (s *Supervisor) tellRoutes() {
	s.mu.Lock()
	lives := map[string]*life{}
	for name, l := range s.lives {
		lives[name] = l
	}
	s.mu.Unlock()
	for name, l := range lives {
		_, _ = l.conn.Ask(node.Request{Do: node.DoRoutes, Routes: s.podRoutes(name)})
	}
}

func (s *Supervisor) diskFile(node, disk string) string {
	return filepath.Join(s.state.Dir, "disks", node, disk+".img")
}
