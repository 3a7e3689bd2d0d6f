package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// patience is how long interrupted tests have to clean up.
const patience = 3 * time.Minute

// errInterrupted is the result of tests that were asked to stop.
var errInterrupted = errors.New("interrupted")

// test runs go with these arguments in dir and feeds its output to s. When ctx
// is done, the tests are interrupted, and waited for so that they can clean up.
func test(ctx context.Context, dir string, args []string, ownMounts bool, s *stream) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	// The tests are a process group of their own: go does not pass a signal on
	// to the tests, and a terminal would send it to some of them a second time.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if ownMounts && os.Geteuid() == 0 {
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
		// A killed test leaves temporary files; these go with the directory, in
		// which nothing is mounted outside that namespace.
		temp, err := os.MkdirTemp("", "berth-test-")
		if err != nil {
			return fmt.Errorf("starting tests: %w", err)
		}
		defer os.RemoveAll(temp)
		cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	}
	cmd.Cancel = func() error {
		s.say("interrupted; waiting at most %s for the tests to clean up", patience)
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
	}
	cmd.WaitDelay = patience
	cmd.Stderr = os.Stderr
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("starting tests: %w", err)
	}
	defer read.Close()
	cmd.Stdout = write
	if err := cmd.Start(); err != nil {
		write.Close()
		return fmt.Errorf("starting tests: %w", err)
	}
	write.Close()
	stopTelling := s.tell()
	fed := make(chan error, 1)
	go func() { fed <- feed(read, s) }()
	waitErr := cmd.Wait()
	if ctx.Err() != nil && !cmd.ProcessState.Exited() {
		// Out of patience: go was killed, and its tests must not outlive it.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	// What a test left running may hold the pipe open; its output is not waited for.
	read.SetReadDeadline(time.Now().Add(5 * time.Second))
	feedErr := <-fed
	stopTelling()
	s.end()
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case waitErr != nil:
		return fmt.Errorf("running tests: %w", waitErr)
	case feedErr != nil && !errors.Is(feedErr, os.ErrDeadlineExceeded):
		return fmt.Errorf("reading test output: %w", feedErr)
	default:
		return nil
	}
}

// feed gives a stream the lines of go test's output.
func feed(r io.Reader, s *stream) error {
	for lines := bufio.NewReader(r); ; {
		line, err := lines.ReadString('\n')
		if line != "" {
			s.line(strings.TrimSuffix(line, "\n"))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
