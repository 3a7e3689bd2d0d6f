// Command mutants shows that the guarantees' tests can fail: for each of the ten
// guarantees in ARCHITECTURE.md it changes a line that the guarantee rests on, in
// a copy that only the compiler sees, and runs the test that is to notice.
//
//	go run ./test/mutants
//
// It says nothing of lines that are not in its table.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// mutated returns the file with the change, which must fit exactly one place.
func (m mutant) mutated() ([]byte, error) {
	data, err := os.ReadFile(m.file)
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(data), m.from); n != 1 {
		return nil, fmt.Errorf("%q is there %d times, not once", m.from, n)
	}
	return []byte(strings.Replace(string(data), m.from, m.to, 1)), nil
}

// try reports whether the test fails with the change. One that does not pass
// without it, or does not compile with it, is an error.
func (m mutant) try(ctx context.Context, dir string) (noticed bool, err error) {
	data, err := m.mutated()
	if err != nil {
		return false, err
	}
	path, err := filepath.Abs(m.file)
	if err != nil {
		return false, err
	}
	copied, overlay := filepath.Join(dir, filepath.Base(m.file)), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {path: copied}})
	if err != nil {
		return false, err
	}
	if err := errors.Join(os.WriteFile(copied, data, 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return false, err
	}
	// -vet=off, as a change may leave code that nothing reaches; some make a test
	// wait for what never comes.
	args := []string{"test", "-count=1", "-timeout=2m", "-vet=off", "-tags=" + m.tag, "-run=^" + m.test + "$", m.dir}
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil || strings.Contains(string(out), "no tests to run") {
		return false, fmt.Errorf("without the change, %s: %v\n%s", m.test, err, out)
	}
	out, err := exec.CommandContext(ctx, "go", append(args, "-overlay="+overlay)...).CombinedOutput()
	if err != nil && strings.Contains(string(out), "[build failed]") {
		return false, fmt.Errorf("with the change, %s: %w\n%s", m.test, err, out)
	}
	return err != nil, nil
}
