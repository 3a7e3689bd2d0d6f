// Command mutants shows that the guarantees' tests can fail: for each of the ten
// guarantees in ARCHITECTURE.md it changes a line that the guarantee rests on, in
// a copy of the tree, and runs the test that is to notice.
//
//	go run ./test/mutants
//
// It says nothing of lines that are not in its table.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "berth-mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := copyTree(ctx, dir); err != nil {
		return fmt.Errorf("copying the tree: %w", err)
	}
	var missed []string
	for _, m := range mutants {
		noticed, err := m.try(ctx, dir)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("guarantee %d, %s: %w", m.guarantee, m.file, err)
		}
		verdict := "noticed"
		if !noticed {
			verdict = "NOT noticed"
			missed = append(missed, m.test)
		}
		fmt.Printf("%2d  %-11s  %s, by %s\n", m.guarantee, verdict, m.says, m.test)
	}
	if len(missed) > 0 {
		return fmt.Errorf("%d of %d changes were not noticed by: %s", len(missed), len(mutants), strings.Join(missed, ", "))
	}
	return nil
}

// copyTree copies the files that git knows, or would.
func copyTree(ctx context.Context, to string) error {
	out, err := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("listing files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		if err == nil {
			err = os.MkdirAll(filepath.Join(to, filepath.Dir(name)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), data, 0o700)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mutated returns a file of the tree with the change, which must fit exactly one
// place.
func (m mutant) mutated(tree string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(tree, m.file))
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(data), m.from); n != 1 {
		return nil, fmt.Errorf("%q is there %d times, not once", m.from, n)
	}
	return []byte(strings.Replace(string(data), m.from, m.to, 1)), nil
}

// try reports whether the test fails with the change, which it makes in the tree
// and takes back. A test that does not pass without it, or does not compile with
// it, is an error.
func (m mutant) try(ctx context.Context, tree string) (noticed bool, err error) {
	data, err := m.mutated(tree)
	if err != nil {
		return false, err
	}
	if out, err := m.run(ctx, tree); err != nil || strings.Contains(out, "no tests to run") {
		return false, fmt.Errorf("without the change, %s: %v\n%s", m.test, err, out)
	}
	path := filepath.Join(tree, m.file)
	before, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	if err := os.WriteFile(path, data, 0o700); err != nil {
		return false, err
	}
	out, failed := m.run(ctx, tree)
	if failed != nil && strings.Contains(out, "[build failed]") {
		err = fmt.Errorf("with the change, %s: %w\n%s", m.test, failed, out)
	}
	return failed != nil && err == nil, errors.Join(err, os.WriteFile(path, before, 0o700))
}

// run runs the test. -vet=off, as a change may leave code that nothing reaches;
// the time is limited, as some make a test wait for what never comes.
func (m mutant) run(ctx context.Context, tree string) (output string, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=2m", "-trimpath", "-vet=off", "-tags="+m.tag, "-run=^"+m.test+"$", m.dir)
	cmd.Dir = tree
	out, err := cmd.CombinedOutput()
	return string(out), err
}
