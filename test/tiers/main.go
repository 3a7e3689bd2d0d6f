// Command tiers runs the project's tests, a tier after the other, cheapest
// first, and says what ran, passed, failed and was skipped with why. It is what
// `make test` calls:
//
//	go run ./test/tiers [pure] [script] [root] [vm] [cluster]
//
// It fails when a test fails, and also when a tier ran nothing or skipped
// everything, as a run that proves nothing must not look like one that does.
// It knows nothing of what the tests do: they prepare what they need, and
// clean it up, themselves.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	chosen, err := choose(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	// What the tests build and start needs no C. Compiled in the same way as
	// that, packages are compiled once: those of Kubernetes take minutes.
	if err := os.Setenv("CGO_ENABLED", "0"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var done []*tally
	for _, t := range chosen {
		done = append(done, t.run(ctx, ".", os.Stdout))
	}
	if !report(os.Stdout, done) {
		os.Exit(1)
	}
}

// choose is the tiers of those names, or all, cheapest first.
func choose(names []string) ([]tier, error) {
	var chosen []tier
	var known []string
	for _, t := range tiers {
		known = append(known, t.name)
		if len(names) == 0 || slices.Contains(names, t.name) {
			chosen = append(chosen, t)
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("found tier %q; allowed: %s", name, strings.Join(known, ", "))
		}
	}
	return chosen, nil
}

// run runs a tier in every module below root that has a part of it.
func (t tier) run(ctx context.Context, root string, out *os.File) *tally {
	began := time.Now()
	tally := &tally{tier: t.name}
	defer func() { tally.took = time.Since(began) }()
	if t.before != nil && os.Geteuid() == 0 {
		cmd := exec.CommandContext(ctx, "go", t.before...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = root, out, os.Stderr
		if err := cmd.Run(); err != nil {
			tally.fail("tier "+t.name, fmt.Sprintf("preparing the machine with go %s: %v", strings.Join(t.before, " "), err))
			return tally
		}
	}
	for _, module := range modules {
		if ctx.Err() != nil {
			tally.fail("tier "+t.name, "interrupted before it was done")
			return tally
		}
		args, err := t.command(root, module)
		if err != nil {
			tally.fail("tier "+t.name, err.Error())
		}
		if args == nil {
			continue
		}
		s := newStream(t, tally, out)
		if err := test(ctx, root, args, t.ownMounts, s); err != nil && tally.failed == 0 {
			tally.fail("go "+strings.Join(args, " "), err.Error())
		}
	}
	tally.judge()
	return tally
}
