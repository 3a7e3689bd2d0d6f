package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/exec"

	"github.com/berth-storage/berth/test/cluster/internal/node"
	"github.com/berth-storage/berth/test/cluster/internal/state"
)

// life is a node from one start to the next stop.
type life struct {
	cmd  *exec.Cmd
	conn *node.Conn
	pid  int           // as the machine counts
	done chan struct{} // closed when all of the node's processes are gone
}

// startNode brings a node up, as far as a kubelet that runs.
func (s *Supervisor) startNode(name string) error {
	unlock, err := s.lock(name)
	if err != nil {
		return err
	}
	defer unlock()
	return s.bringUp(name)
}

func (s *Supervisor) bringUp(name string) error {
	n := s.node(name)
	if err := s.record(func(st *state.State) { st.Node(name).Status = state.Running }); err != nil {
		return err
	}
	for i := range n.Disks {
		if err := s.attachDisk(name, &n.Disks[i]); err != nil {
			return err
		}
	}
	l, err := s.spawn(n)
	if err != nil {
		return fmt.Errorf("starting node %s: %w", name, err)
	}
	for _, d := range n.Disks {
		if _, err := showDisk(l, d); err != nil {
			return err
		}
	}
	if err := s.startRuntime(name, l); err != nil {
		return err
	}
	<-s.apiReady
	for _, c := range []string{"kubelet", "kube-proxy"} {
		if _, err := l.conn.Ask(node.Request{Do: node.DoStart, Component: c}); err != nil {
			return fmt.Errorf("starting node %s: %w", name, err)
		}
	}
	return nil
}

// startRuntime starts containerd and gives it the images.
func (s *Supervisor) startRuntime(name string, l *life) error {
	if _, err := l.conn.Ask(node.Request{Do: node.DoStart, Component: "containerd"}); err != nil {
		return fmt.Errorf("starting node %s: %w", name, err)
	}
	failing := func() string {
		reply, err := l.conn.Ask(node.Request{Do: node.DoStatus})
		if err != nil {
			return name // its first process ended
		}
		for _, c := range reply.Status {
			if c.Restarts >= mostEnds {
				return name + "-" + c.Name
			}
		}
		return ""
	}
	ready := func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "unix", l.containerd())
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := await(name+"-containerd", failing, s.state.LogDir(), ready); err != nil {
		return err
	}
	s.mu.Lock()
	images := append([]state.Image(nil), s.state.Images...)
	s.mu.Unlock()
	for _, i := range images {
		if err := s.importImage(l, i); err != nil {
			return fmt.Errorf("on node %s: %w", name, err)
		}
	}
	return nil
}

// containerd is its socket, seen from the machine.
func (l *life) containerd() string {
	return fmt.Sprintf("/proc/%d/root%s", l.pid, node.Containerd)
}

// watch waits for the end of a node's first process, and with it of all others.
func (s *Supervisor) watch(name string, l *life) {
	err := l.cmd.Wait()
	slog.Info("node ended", "node", name, "error", err)
	_ = l.conn.Close()
	s.mu.Lock()
	if s.lives[name] == l {
		delete(s.lives, name)
	}
	s.mu.Unlock()
	close(l.done)
}

var errNotRunning = errors.New("it does not run")

func (s *Supervisor) life(name string) (*life, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lives[name]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("reaching node %s: %w", name, errNotRunning)
}
