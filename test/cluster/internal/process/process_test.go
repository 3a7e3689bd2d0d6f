package process

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// eventually waits for something that a process does in its own time.
func eventually(t *testing.T, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	log, err := OpenLog(dir, "failing")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var g Group
	c := Component{Name: "failing", Path: "/bin/sh", Args: []string{"-c", "echo started; exit 3"}, Log: log}
	if err := g.Start(c); err != nil {
		t.Fatal(err)
	}
	defer g.Stop("failing")
	if err := g.Start(c); err == nil {
		t.Error("a component was started twice")
	}
	eventually(t, func() error {
		if g.Failing(2) != "failing" {
			return errors.New("it is not seen to fail")
		}
		return nil
	})
	s := g.Status()
	if len(s) != 1 || s[0].LastExit != "exit status 3" || s[0].Restarts < 1 {
		t.Errorf("the status is %+v", s)
	}
	if tail := Tail(dir, "failing", 1); tail != "started" {
		t.Errorf("the end of the log is %q", tail)
	}
	if tail := Tail(dir, "other", 1); !strings.HasPrefix(tail, "(no log") {
		t.Errorf("the end of no log is %q", tail)
	}
}

func TestStop(t *testing.T) {
	var g Group
	if err := g.Start(Component{Name: "sleeper", Path: "/bin/sleep", Args: []string{"1000"}}); err != nil {
		t.Fatal(err)
	}
	pid := g.Status()[0].PID
	if g.Failing(1) != "" {
		t.Error("a component that runs is failing")
	}
	g.Stop("sleeper")
	g.Stop("sleeper")
	if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); err == nil {
		t.Error("the process is left")
	}
	if len(g.Status()) != 0 {
		t.Errorf("the status is %+v", g.Status())
	}
}

func TestStartOfNothing(t *testing.T) {
	var g Group
	if err := g.Start(Component{Name: "none", Path: "/no/such/program"}); err == nil {
		t.Error("no error")
	}
	if len(g.Status()) != 0 {
		t.Errorf("the status is %+v", g.Status())
	}
}

// The reaper ends strangers and leaves the exit status of components alone.
func TestReap(t *testing.T) {
	var g Group
	if err := g.Start(Component{Name: "own", Path: "/bin/sh", Args: []string{"-c", "exit 7"}}); err != nil {
		t.Fatal(err)
	}
	defer g.Stop("own")
	stranger := exec.Command("/bin/true")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	path := "/proc/" + strconv.Itoa(stranger.Process.Pid)
	eventually(t, func() error {
		g.reapOnce()
		if _, err := os.Stat(path); err == nil {
			return errors.New("the stranger is left")
		}
		if s := g.Status(); s[0].LastExit != "exit status 7" {
			return errors.New("the component's exit status is lost: " + s[0].LastExit)
		}
		return nil
	})
	_ = stranger.Process.Release()
}
