package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/berth-storage/berth/test/vm/internal/tunnel"
	"github.com/berth-storage/berth/test/vm/internal/wire"
)

// ErrOff: the machine is off, or went off before the command ended.
var ErrOff = errors.New("the machine is off")

// Command is a program to run in the machine.
type Command struct {
	Args   []string // Args[0] is looked for in the machine's PATH
	Env    []string // name=value, added to the machine's own
	Dir    string   // / if empty
	Stdout io.Writer
	Stderr io.Writer
}

// guest is the connection to the machine's first process.
type guest struct {
	conn    net.Conn
	out     *wire.Sender
	up      chan struct{} // closed when the machine is up
	off     chan struct{} // closed when the connection has ended
	forward map[string]string
	tunnel  *tunnel.Tunnel

	mu      sync.Mutex // guards all below
	last    int
	running map[int]*running
}

type running struct {
	Command
	ended chan wire.Answer // gets one
}

func newGuest(conn net.Conn, forward map[string]string) *guest {
	g := &guest{conn: conn, out: wire.NewSender(conn), up: make(chan struct{}), off: make(chan struct{}), forward: forward, running: map[int]*running{}}
	g.tunnel = tunnel.New(func(id int, p wire.Part) error { return g.out.Send(wire.Request{ID: id, Part: &p}) })
	go g.read()
	return g
}

func (g *guest) read() {
	defer close(g.off)
	defer g.tunnel.Close()
	for answers := json.NewDecoder(g.conn); ; {
		var a wire.Answer
		if answers.Decode(&a) != nil {
			return
		}
		switch {
		case a.Up:
			close(g.up)
			continue
		case a.Part != nil && a.Part.Open != "":
			to := g.forward[a.Part.Open]
			g.tunnel.Carry(a.ID, func() (net.Conn, error) { return net.Dial("tcp", to) })
			continue
		case a.Part != nil:
			g.tunnel.Take(a.ID, *a.Part)
			continue
		}
		g.mu.Lock()
		r := g.running[a.ID]
		if a.Ended {
			delete(g.running, a.ID)
		}
		g.mu.Unlock()
		if r == nil {
			continue
		}
		// What the writers answer is theirs to remember.
		if r.Stdout != nil && len(a.Output) > 0 {
			_, _ = r.Stdout.Write(a.Output)
		}
		if r.Stderr != nil && len(a.Error) > 0 {
			_, _ = r.Stderr.Write(a.Error)
		}
		if a.Ended {
			r.ended <- a
		}
	}
}

func (g *guest) run(ctx context.Context, c Command) (status int, err error) {
	r := &running{Command: c, ended: make(chan wire.Answer, 1)}
	g.mu.Lock()
	g.last++
	id := g.last
	g.running[id] = r
	g.mu.Unlock()
	if err := g.out.Send(wire.Request{ID: id, Run: &wire.Command{Args: c.Args, Env: c.Env, Dir: c.Dir}}); err != nil {
		return -1, fmt.Errorf("running %s: %w", c.Args[0], ErrOff)
	}
	select {
	case a := <-r.ended:
		if a.Why != "" {
			return a.Status, fmt.Errorf("running %s: %s", c.Args[0], a.Why)
		}
		return a.Status, nil
	case <-g.off:
		return -1, fmt.Errorf("running %s: %w", c.Args[0], ErrOff)
	case <-ctx.Done():
		_ = g.out.Send(wire.Request{ID: id, Kill: true})
		g.mu.Lock()
		delete(g.running, id) // the caller does not expect more output
		g.mu.Unlock()
		return -1, ctx.Err()
	}
}

// Run runs a command in the machine and returns its exit status, -1 when it was
// killed. All output has been written when it returns. When ctx ends, the
// command is killed. A status other than 0 is no error.
func (m *Machine) Run(ctx context.Context, c Command) (status int, err error) {
	if m.qemu == nil {
		return -1, fmt.Errorf("running %s: %w", c.Args[0], ErrOff)
	}
	return m.guest.run(ctx, c)
}

// Output runs a command and returns what it printed. A status other than 0 is
// an error with all its output.
func (m *Machine) Output(ctx context.Context, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	status, err := m.Run(ctx, Command{Args: args, Stdout: &stdout, Stderr: &stderr})
	if err == nil && status != 0 {
		err = fmt.Errorf("running %s in the machine: exit status %d\n%s%s", args[0], status, &stdout, &stderr)
	}
	return stdout.String(), err
}
