// Package process runs a component of the cluster: it starts the program with
// a log file, starts it again when it ends, and keeps count.
//
// It does not judge whether a component works; the supervisor asks it.
package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Component is a program to keep running.
type Component struct {
	Name string   `json:"name"`
	Path string   `json:"path"`
	Args []string `json:"args"`
	Env  []string `json:"env,omitempty"` // instead of the caller's
	Log  *os.File `json:"-"`             // its standard output and error
}

// Status is what became of a component.
type Status struct {
	Name     string `json:"name"`
	PID      int    `json:"pid,omitempty"` // in the runner's PID namespace; 0 while it does not run
	Restarts int    `json:"restarts"`
	LastExit string `json:"lastExit,omitempty"`
}

// Group runs components. The zero value is ready to use.
type Group struct {
	mu      sync.Mutex // guards all below, and is held while a process starts
	running map[string]*run
	order   []string
	pids    map[int]bool
}

type run struct {
	status Status
	stop   context.CancelFunc
	done   chan struct{}
}

// Pauses between the end of a program and its next start.
const (
	firstPause   = 200 * time.Millisecond
	longestPause = 5 * time.Second
	// steady is how long a program must have run for the pauses to start anew.
	steady = 10 * time.Second
)

// Start starts the component and returns when its process runs. It is kept
// running until Stop.
func (g *Group) Start(c Component) error {
	g.mu.Lock()
	if g.running == nil {
		g.running, g.pids = map[string]*run{}, map[int]bool{}
	}
	if _, ok := g.running[c.Name]; ok {
		g.mu.Unlock()
		return fmt.Errorf("starting %s: it was started before", c.Name)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{status: Status{Name: c.Name}, stop: cancel, done: make(chan struct{})}
	cmd, err := g.launch(ctx, c, r)
	if err == nil {
		g.running[c.Name] = r
		g.order = append(g.order, c.Name)
	}
	g.mu.Unlock()
	if err != nil {
		cancel()
		return err
	}
	go g.keep(ctx, c, r, cmd)
	return nil
}

// launch starts the process; the caller holds the lock, so that the reaper
// sees either no process or one that it must leave alone.
func (g *Group) launch(ctx context.Context, c Component, r *run) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.Env, c.Log, c.Log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.Name, err)
	}
	r.status.PID = cmd.Process.Pid
	g.pids[cmd.Process.Pid] = true
	return cmd, nil
}

// keep waits for the process and starts it again, until the context ends.
func (g *Group) keep(ctx context.Context, c Component, r *run, cmd *exec.Cmd) {
	defer close(r.done)
	pause := firstPause
	for {
		began := time.Now()
		if cmd != nil {
			err := cmd.Wait()
			g.mu.Lock()
			delete(g.pids, r.status.PID)
			r.status.PID = 0
			r.status.LastExit = describe(err)
			g.mu.Unlock()
		}
		if time.Since(began) > steady {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
		g.mu.Lock()
		var err error
		if cmd, err = g.launch(ctx, c, r); err != nil {
			cmd, r.status.LastExit = nil, err.Error()
		}
		r.status.Restarts++
		g.mu.Unlock()
	}
}

func describe(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// Stop kills the component and forgets it.
func (g *Group) Stop(name string) {
	g.mu.Lock()
	r := g.running[name]
	g.mu.Unlock()
	if r == nil {
		return
	}
	r.stop()
	<-r.done
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.running, name)
	for i, n := range g.order {
		if n == name {
			g.order = append(g.order[:i:i], g.order[i+1:]...)
		}
	}
}

// Status lists all components in the order of their start.
func (g *Group) Status() []Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]Status, 0, len(g.order))
	for _, name := range g.order {
		all = append(all, g.running[name].status)
	}
	return all
}

// Failing names a component that has ended at least n times, or "".
func (g *Group) Failing(n int) string {
	for _, s := range g.Status() {
		if s.Restarts+btoi(s.PID == 0) >= n {
			return s.Name
		}
	}
	return ""
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Reap ends the zombies that the kernel hands to the first process of a PID
// namespace, and leaves the group's own children to their waiters. It looks
// at every tick of ended, and when ended is closed it returns.
func (g *Group) Reap(ended <-chan os.Signal) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case _, ok := <-ended:
			if !ok {
				return
			}
		case <-tick.C:
		}
		g.reapOnce()
	}
}
