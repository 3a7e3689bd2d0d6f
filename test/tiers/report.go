package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// tally is what came of a tier.
type tally struct {
	tier                    string
	passed, failed, skipped int
	failures, skips         []entry
	took                    time.Duration
}

// entry is a test, or what stands for it, and what there is to say of it.
type entry struct{ where, text string }

func (t *tally) fail(where, text string) {
	t.failed++
	if text != "" && !strings.HasSuffix(text, "\n") {
		text = "    " + text + "\n"
	}
	t.failures = append(t.failures, entry{where, text})
}

func (t *tally) skip(where, reason string) {
	t.skipped++
	t.skips = append(t.skips, entry{where, reason})
}

// judge adds the failure of a tier that proved nothing.
func (t *tally) judge() {
	switch {
	case t.passed+t.failed > 0:
	case t.skipped > 0:
		t.fail("tier "+t.tier, "every test was skipped")
	default:
		t.fail("tier "+t.tier, "ran no test")
	}
}

// report prints the table and its sums, and returns whether all is well.
func report(out io.Writer, tallies []*tally) bool {
	var sum tally
	fmt.Fprintf(out, "\n%-8s %7s %7s %7s %8s %8s\n", "tier", "ran", "passed", "failed", "skipped", "seconds")
	for _, t := range tallies {
		fmt.Fprintf(out, "%-8s %7d %7d %7d %8d %8.1f\n", t.tier, t.passed+t.failed, t.passed, t.failed, t.skipped, t.took.Seconds())
		sum.passed += t.passed
		sum.failed += t.failed
		sum.skipped += t.skipped
	}
	list(out, "skipped", tallies, func(t *tally) []entry { return t.skips })
	list(out, "failed", tallies, func(t *tally) []entry { return t.failures })
	fmt.Fprintf(out, "\n%d passed, %d failed, %d skipped\n", sum.passed, sum.failed, sum.skipped)
	return sum.failed == 0
}

// list prints entries with the first line of what there is to say.
func list(out io.Writer, title string, tallies []*tally, of func(*tally) []entry) {
	for _, t := range tallies {
		if len(of(t)) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%s in %s:\n", title, t.tier)
		for _, e := range of(t) {
			line, _, _ := strings.Cut(strings.TrimSpace(e.text), "\n")
			fmt.Fprintf(out, "  %s: %s\n", e.where, line)
		}
	}
}
