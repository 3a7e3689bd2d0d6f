package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrTimeout: a command took longer than it was given.
var ErrTimeout = errors.New("it took too long and was killed")

// A Command is a program that somebody configured to do a job on this machine.
type Command struct {
	Args    []string      // the program's absolute path and its arguments
	Env     []string      // KEY=value, beside this process's environment
	Timeout time.Duration // when the program is killed; zero is never
	// Output, if not nil, gets each line that the program prints, on stdout or
	// stderr, as it comes and from one goroutine. A line ends with a line feed
	// or a carriage return, as progress does; of a long one the rest is left out.
	Output func(line string)
}

// outputDelay is how long a process that left the command's group may hold its
// output open.
const outputDelay = 5 * time.Second

// Run runs the command to its end and takes its exit status for the result: it
// is an error, with the last lines that were printed, unless that is 0. What
// the command has done, Run cannot know.
//
// The command gets a process group of its own. All of that group are killed
// when ctx or the time ends, and also when the command itself has ended, so
// that nothing it started goes on in the back; one that made a group of its own
// gets away. A killed process ends when the kernel lets it, which a disk that
// does not answer can delay. When this process is killed, the command is not,
// but by the end of the container that both are in.
func (c Command) Run(ctx context.Context) error {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("%w: it was given %v", ErrTimeout, c.Timeout))
		defer cancel()
	}
	err := c.run(ctx)
	if err != nil {
		return fmt.Errorf("running %q: %w", strings.Join(c.Args, " "), err)
	}
	return nil
}

func (c Command) run(ctx context.Context) error {
	if len(c.Args) == 0 {
		return errors.New("no program is given")
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	out := &lines{each: c.Output}
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = outputDelay
	g := &group{}
	cmd.Cancel = g.kill
	// What Cancel needs is known only after Start, which may call it.
	g.mu.Lock()
	err := cmd.Start()
	if err == nil {
		g.leader = cmd.Process.Pid
	}
	g.mu.Unlock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the program, or the interpreter that its first line names, is not here: %w", err)
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	}
	g.end()
	err = cmd.Wait()
	out.close()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return out.explain(context.Cause(ctx))
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // status 0, but what has a group of its own has the output open
	}
	return out.explain(err)
}

// A group is the process group of a command.
type group struct {
	mu     sync.Mutex // guards the rest
	leader int        // its ID too; 0 before the start
	ended  bool       // the ID may be another's by now
}

// kill kills every process in the group.
func (g *group) kill() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended || g.leader == 0 {
		return os.ErrProcessDone
	}
	return unix.Kill(-g.leader, unix.SIGKILL)
}

// end waits for the leader and kills what it has left behind. It does not reap
// the leader, so that the ID is the group's as long as somebody may use it.
func (g *group) end() {
	for {
		err := unix.Waitid(unix.P_PID, g.leader, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	_ = g.kill() // there is no other process most of the time
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
}
