package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/berth-storage/berth/test/cluster/internal/link"
	"github.com/berth-storage/berth/test/cluster/internal/process"
	"github.com/berth-storage/berth/test/cluster/internal/state"
	"github.com/berth-storage/berth/test/cluster/internal/teardown"
)

// launch starts the supervisor, in PID and network namespaces of its own, and
// joins its network to the machine. The supervisor makes nothing before it is
// told to go, and ends if its launcher does; it is told once it is recorded.
func (s *start) launch(program string) error {
	wait, goAhead, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	defer wait.Close()
	defer goAhead.Close()
	log, err := process.OpenLog(s.state.LogDir(), "supervisor")
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program, "supervise", s.dir)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = "/", log, log, []*os.File{wait}
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true, // a terminal's Ctrl-C is not for it
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	go func() { _ = cmd.Wait() }() // so that no zombie is left of it
	if s.state.Supervisor, err = state.Identify(cmd.Process.Pid); err != nil {
		return err
	}
	if err := s.state.Save(); err != nil {
		return err
	}
	err = link.JoinMachine(s.state.Link, teardown.Alias(s.state.ID), s.state.HostAddress(), cmd.Process.Pid)
	if err != nil {
		return err
	}
	if _, err := goAhead.Write([]byte{1}); err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	return nil
}
