package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/berth-storage/berth/test/cluster/internal/cgroup"
	"github.com/berth-storage/berth/test/cluster/internal/link"
	"github.com/berth-storage/berth/test/cluster/internal/part"
	"github.com/berth-storage/berth/test/cluster/internal/process"
	"github.com/berth-storage/berth/test/cluster/internal/state"
	"github.com/berth-storage/berth/test/cluster/internal/teardown"
)

// record makes the cluster's directory and writes down all that will be made
// outside it.
func (s *start) record(disks []state.Disk) error {
	// Disks hold what their users wrote, kubeconfigs and keys open everything.
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("making the cluster's directory: %w", err)
	}
	var err error
	if s.lock, err = state.Lock(s.dir); err != nil {
		return err
	}
	st := state.New(s.dir)
	s.state = st
	if st.Launcher, err = state.Identify(os.Getpid()); err != nil {
		return err
	}
	if st.Prefix, err = link.FreePrefix(st.ID); err != nil {
		return err
	}
	hs, err := cgroup.Hierarchies()
	if err != nil {
		return err
	}
	if st.Enabled, err = cgroup.ToEnable(hs); err != nil {
		return err
	}
	st.StockControllers, st.ControllerRate = s.StockControllers, s.ControllerRate
	if st.Kubernetes, err = part.KubernetesVersion(s.root); err != nil {
		return err
	}
	for i := range s.Nodes {
		n := state.Node{Name: fmt.Sprintf("node-%d", i+1), Index: i + 1, Status: state.Stopped}
		for _, d := range disks {
			d.File = filepath.Join(s.dir, "disks", n.Name, d.Name+".img")
			n.Disks = append(n.Disks, d)
		}
		st.Nodes = append(st.Nodes, n)
	}
	if err := st.Save(); err != nil {
		return err
	}
	// Only now: without the record, nothing in the directory would be removed.
	for _, dir := range []string{"bin", "logs", "images", "nodes", "disks"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o755); err != nil {
			return fmt.Errorf("making the cluster's directory: %w", err)
		}
	}
	return nil
}

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
