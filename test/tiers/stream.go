package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build output, instead of Package
	Test        string
	Elapsed     float64 // seconds
	Output      string
	FailedBuild string
}

// stream turns the events of one go test into results. A package is settled
// when it ends: only then it is known which tests had tests beneath them.
type stream struct {
	tier  tier
	tally *tally
	out   io.Writer

	mu       sync.Mutex // guards all below, and out
	packages map[string]*pkg
	builds   map[string][]string // output of the compiler by import path
}

type pkg struct {
	tests  map[string]*result
	output []string
}

// result is what is known of a test, or of a subtest.
type result struct {
	began  time.Time
	action string // how it ended: pass, fail or skip; empty while it runs
	parent bool   // has subtests, and does not count unless it alone fails
	output []string
}

func newStream(t tier, tally *tally, out io.Writer) *stream {
	return &stream{tier: t, tally: tally, out: out, packages: map[string]*pkg{}, builds: map[string][]string{}}
}

// say prints a line of the program's own.
func (s *stream) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format+"\n", args...)
}

// line takes a line of output. One that is not an event is passed on.
func (s *stream) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var e event
	if !strings.HasPrefix(text, "{") || json.Unmarshal([]byte(text), &e) != nil {
		fmt.Fprintln(s.out, text)
		return
	}
	if e.Action == "build-output" {
		s.builds[e.ImportPath] = append(s.builds[e.ImportPath], e.Output)
		return
	}
	if e.Package == "" {
		return
	}
	p := s.packages[e.Package]
	if p == nil {
		p = &pkg{tests: map[string]*result{}}
		s.packages[e.Package] = p
	}
	if e.Test == "" {
		s.ofPackage(p, e)
	} else {
		s.ofTest(p, e)
	}
}

func (s *stream) ofTest(p *pkg, e event) {
	r := p.tests[e.Test]
	if r == nil {
		r = &result{began: time.Now()}
		p.tests[e.Test] = r
		if above := p.above(e.Test); above != "" {
			p.tests[above].parent = true
		}
	}
	switch e.Action {
	case "output":
		r.output = append(r.output, e.Output)
	case "pass", "fail", "skip":
		r.action = e.Action
		if s.tier.slow && !strings.Contains(e.Test, "/") {
			fmt.Fprintf(s.out, "%-8s %-4s  %s %s  %.1fs\n", s.tier.name, word(e.Action), short(e.Package), e.Test, e.Elapsed)
		}
	}
}

// above is the test that a subtest belongs to. A subtest's own name may have slashes.
func (p *pkg) above(name string) string {
	for {
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return ""
		}
		name = name[:i]
		if p.tests[name] != nil {
			return name
		}
	}
}

func (s *stream) ofPackage(p *pkg, e event) {
	switch e.Action {
	case "output":
		p.output = append(p.output, e.Output)
		// What a package says outside its tests, a slow tier's user waits for:
		// what is being built, say.
		if line := strings.TrimSpace(e.Output); s.tier.slow && line != "" && !verdict(line) {
			fmt.Fprintf(s.out, "%-8s   …   %s: %s\n", s.tier.name, short(e.Package), line)
		}
	case "pass", "fail", "skip":
		if e.FailedBuild != "" {
			p.output = append(s.builds[e.FailedBuild], p.output...)
		}
		s.settle(e.Package, p, e.Action, e.Elapsed)
	}
}

// verdict reports whether a line is go test's own about a whole package, which
// is told in another way.
func verdict(line string) bool {
	word, _, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	return slices.Contains([]string{"ok", "PASS", "FAIL", "?", "coverage:", "testing:", "exit"}, word)
}

// settle counts a package's tests and prints its line.
func (s *stream) settle(name string, p *pkg, action string, seconds float64) {
	delete(s.packages, name)
	before := *s.tally
	var around []entry // what tests said whose subtests failed
	for _, test := range slices.Sorted(maps.Keys(p.tests)) {
		r, where := p.tests[test], short(name)+" "+test
		switch {
		case r.action == "" && !r.parent:
			s.tally.fail(where, "did not finish\n"+text(r.output)+text(p.output))
		case r.action == "fail" && !(r.parent && p.failedBelow(test)):
			s.tally.fail(where, text(r.output))
		case r.action == "fail":
			around = append(around, entry{where, text(r.output)})
		case r.parent:
		case r.action == "skip":
			s.tally.skip(where, reason(r.output))
		case r.action == "pass":
			s.tally.passed++
		}
	}
	if action == "fail" && s.tally.failed == before.failed {
		s.tally.fail(short(name), text(p.output))
	}
	passed, failed, skipped := s.tally.passed-before.passed, s.tally.failed-before.failed, s.tally.skipped-before.skipped
	if passed+failed+skipped == 0 {
		return // no test files, or none of this tier
	}
	counts := fmt.Sprintf("%d passed", passed)
	if failed > 0 {
		counts += fmt.Sprintf(", %d failed", failed)
		action = "fail"
	}
	if skipped > 0 {
		counts += fmt.Sprintf(", %d skipped", skipped)
	}
	fmt.Fprintf(s.out, "%-8s %-4s  %-32s %6.1fs  %s\n", s.tier.name, word(action), short(name), seconds, counts)
	for _, f := range append(around, s.tally.failures[len(before.failures):]...) {
		fmt.Fprintf(s.out, "--- FAIL %s\n%s", f.where, f.text)
	}
}

func (p *pkg) failedBelow(test string) bool {
	for name, r := range p.tests {
		if strings.HasPrefix(name, test+"/") && r.action != "pass" && r.action != "skip" {
			return true
		}
	}
	return false
}

// end settles what go test did not: it was interrupted, or died.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.packages)) {
		s.settle(name, s.packages[name], "fail", 0)
	}
}
