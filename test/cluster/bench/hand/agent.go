package hand

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is how long the agent may take to end when it is told to.
const patience = 10 * time.Second

// readyPatience is how long it may take to be ready.
const readyPatience = 2 * time.Minute

// clockTick is the unit of the times in proc_pid_stat(5), USER_HZ, which is 100
// on every architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// agent is a running agent, or the controller.
type agent struct {
	log     string
	process *os.Process
	group   group         // of memory, of the agent alone
	ended   chan struct{} // closed when it has
	err     error         // how it ended, once it has
}

// start starts the agent without a past.
func (w *worker) start(args []string) (at time.Time, err error) {
	if w.agent != nil {
		return at, fmt.Errorf("starting the agent: it runs")
	}
	if err := os.RemoveAll(w.StateDir()); err != nil {
		return at, fmt.Errorf("starting the agent: %w", err)
	}
	return w.launchAgent(args)
}

// launchAgent starts the agent in a memory group of its own.
func (w *worker) launchAgent(args []string) (at time.Time, err error) {
	if w.agent, at, err = launch(args, w.LogFile()); err == nil {
		w.agent.group, err = newGroup(w.agent.process.Pid)
	}
	return at, err
}

// launch starts the agent on the state that is there. It dies with the hand.
func launch(args []string, logFile string) (a *agent, at time.Time, err error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, at, fmt.Errorf("starting the agent: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	a = &agent{log: logFile, ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the death signal goes with the thread that started it
		at = time.Now()
		err := cmd.Start()
		a.process = cmd.Process
		started <- err
		if err == nil {
			a.err = cmd.Wait()
			close(a.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, at, fmt.Errorf("starting %s: %w", args[0], err)
	}
	return a, at, nil
}

// ready waits until the agent answers that it is ready, and returns when.
func (w *worker) ready(url string) (at time.Time, err error) {
	why := "no answer"
	for deadline := time.Now().Add(readyPatience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		answer, err := http.Get(url)
		if err != nil {
			continue // it does not listen yet
		}
		at := time.Now()
		body, _ := io.ReadAll(answer.Body) // what there is of it is for the error
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return at, nil
		}
		why = string(body)
	}
	return at, fmt.Errorf("waiting for the agent to be ready: not within %v: %s; the end of its log:\n%s", readyPatience, why, tail(w.LogFile()))
}

// stop ends the agent and the controller, and removes the agent's state.
func (w *worker) stop() error {
	err := w.placer.end()
	w.placer = nil
	if w.agent == nil {
		return err
	}
	if err := errors.Join(err, w.end()); err != nil {
		return err
	}
	if err := os.RemoveAll(w.StateDir()); err != nil {
		return fmt.Errorf("stopping the agent: %w", err)
	}
	return nil
}

// end ends the agent. One that had ended by itself is an error, with the end of
// its log.
func (w *worker) end() error {
	a := w.agent
	w.agent = nil
	return a.end()
}

func (a *agent) end() error {
	if a == nil {
		return nil
	}
	select {
	case <-a.ended:
		return errors.Join(fmt.Errorf("stopping the agent: it had ended: %v; the end of its log:\n%s", a.err, tail(a.log)), a.group.remove())
	default:
	}
	_ = a.process.Signal(syscall.SIGTERM) // an error means that it has just ended
	select {
	case <-a.ended:
	case <-time.After(patience):
		_ = a.process.Kill()
		<-a.ended
		return errors.Join(fmt.Errorf("stopping the agent: it did not end within %v", patience), a.group.remove())
	}
	return a.group.remove()
}

// usage reads what the agent uses.
func (a *agent) usage() (Resources, error) {
	dir := filepath.Join("/proc", strconv.Itoa(a.process.Pid))
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return Resources{}, fmt.Errorf("reading the agent's usage: %w", err)
	}
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return Resources{}, fmt.Errorf("reading the agent's usage: %w", err)
	}
	var r Resources
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch key {
		case "VmRSS":
			r.ResidentBytes = kib << 10
		case "VmHWM":
			r.PeakBytes = kib << 10
		case "RssAnon":
			r.AnonBytes = kib << 10
		case "RssFile":
			r.FileBytes = kib << 10
		}
	}
	// Fields 14 and 15, utime and stime; the second, which may hold blanks,
	// ends with the last bracket.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return Resources{}, fmt.Errorf("reading the agent's usage: %w", err)
		}
		r.CPU += time.Duration(ticks) * clockTick
	}
	r.GroupPeakBytes, err = a.group.peak()
	return r, err
}

// tail returns the last lines of a file.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
