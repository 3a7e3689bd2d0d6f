package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// step is one check: a command, and what its failure asks for.
type step struct {
	name string
	args []string
	hint string
	// needs is a file without which the step is not there to be run. It is
	// named when it is missing.
	needs string
	// silent commands fail by printing, whatever their status.
	silent bool
}

// run runs the step and prints its line, and its output when it failed.
func (s step) run(ctx context.Context, w io.Writer) bool {
	began := time.Now()
	if s.needs != "" {
		if _, err := os.Stat(filepath.FromSlash(s.needs)); err != nil {
			fmt.Fprintf(w, "FAIL  %-20s %s is missing\n", s.name, s.needs)
			return false
		}
	}
	cmd := exec.CommandContext(ctx, s.args[0], s.args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	if err == nil && s.silent && len(bytes.TrimSpace(out)) > 0 {
		err = fmt.Errorf("%s printed", s.args[0])
	}
	if err == nil {
		fmt.Fprintf(w, "ok    %-20s %5.1fs\n", s.name, time.Since(began).Seconds())
		return true
	}
	fmt.Fprintf(w, "FAIL  %-20s %5.1fs  %s: %v\n%s", s.name, time.Since(began).Seconds(), strings.Join(s.args, " "), err, out)
	if s.hint != "" {
		fmt.Fprintf(w, "      to mend it: %s\n", s.hint)
	}
	return false
}
