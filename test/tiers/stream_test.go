package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

// read judges a captured output of `go test -json`.
func read(t *testing.T, tier tier, name string) (*tally, string) {
	t.Helper()
	f, err := os.Open("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out bytes.Buffer
	tally := &tally{tier: tier.name}
	s := newStream(tier, tally, &out)
	if err := feed(f, s); err != nil {
		t.Fatal(err)
	}
	s.end()
	tally.judge()
	return tally, out.String()
}

func TestCapturedOutput(t *testing.T) {
	for _, c := range []struct {
		name                    string
		passed, failed, skipped int
		out                     []string // in what is printed
		failures                []string // beginnings of "where: text"
		skips                   []string
	}{
		{name: "good", passed: 5, out: []string{"pure     ok    sample/good  ", "5 passed\n"}},
		{name: "mixed", passed: 4, failed: 2, skipped: 3,
			out: []string{
				"4 passed, 2 failed, 3 skipped\n",
				"--- FAIL sample/mixed TestChildFails\n        a_test.go:4: set up\n",
			},
			failures: []string{
				"sample/mixed TestChildFails/bad:         a_test.go:4: got 1, want 2",
				"sample/mixed TestParentAloneFails:     ",
			},
			skips: []string{
				"sample/mixed TestSkipNow: no reason given",
				"sample/mixed TestSkipped: needs xfs, which the kernel lacks",
				"sample/mixed TestSomeSkipped/no: not root",
			}},
		{name: "panics", passed: 1, failed: 1, out: []string{"panic: assignment to entry in nil map"}, failures: []string{"sample/panics TestPanics: "}},
		{name: "exits", passed: 1, failed: 1, out: []string{"    going\n"}, failures: []string{"sample/exits TestExits: did not finish"}},
		{name: "timeout", passed: 1, failed: 1, out: []string{"panic: test timed out after 1s"}, failures: []string{"sample/slow TestHangs/sub: did not finish"}},
		{name: "mainfails", failed: 1, out: []string{"    preparing the cluster: no space left\n"}, failures: []string{"sample:     preparing the cluster"}},
		{name: "nobuild", failed: 1, out: []string{"a_test.go:3:34: undefined: undefined"}, failures: []string{"sample/nobuild: "}},
		{name: "setup", failed: 1, out: []string{"no required module provides package example.com/absent"}, failures: []string{"sample/setup: "}},
		{name: "skips", failed: 1, skipped: 2, failures: []string{"tier pure:     every test was skipped"},
			skips: []string{"sample/skips TestOne: not root", "sample/skips TestTwo/x: no loop devices"}},
		{name: "notests", failed: 1, failures: []string{"tier pure:     ran no test"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, out := read(t, tiers[0], c.name)
			if got.passed != c.passed || got.failed != c.failed || got.skipped != c.skipped {
				t.Errorf("%d passed, %d failed, %d skipped; want %d, %d, %d\n%s", got.passed, got.failed, got.skipped, c.passed, c.failed, c.skipped, out)
			}
			for _, want := range c.out {
				if !strings.Contains(out, want) {
					t.Errorf("printed\n%s\nwithout %q", out, want)
				}
			}
			entries(t, "failures", got.failures, c.failures)
			entries(t, "skips", got.skips, c.skips)
		})
	}
}

func entries(t *testing.T, what string, got []entry, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %v, want %q", what, got, want)
		return
	}
	for i := range want {
		if all := got[i].where + ": " + got[i].text; !strings.HasPrefix(all, want[i]) {
			t.Errorf("%s: %q, want %q", what, all, want[i])
		}
	}
}

// A stream that breaks off in a test is a failure of that test.
func TestCutOffOutput(t *testing.T) {
	tally := &tally{tier: "cluster"}
	var out bytes.Buffer
	s := newStream(tier{name: "cluster", slow: true}, tally, &out)
	s.line(`{"Action":"start","Package":"p"}`)
	s.line(`{"Action":"output","Package":"p","Output":"[1/4] build kubernetes …\n"}`)
	s.line(`{"Action":"output","Package":"p","Output":"PASS\n"}`)
	s.line(`{"Action":"run","Package":"p","Test":"TestA"}`)
	s.line(`{"Action":"pass","Package":"p","Test":"TestA","Elapsed":1.5}`)
	s.line(`{"Action":"run","Package":"p","Test":"TestB"}`)
	s.line(`{"Action":"output","Package":"p","Test":"TestB","Output":"building kubelet\n"}`)
	s.line("warning: not an event")
	s.tellRunning(time.Now().Add(time.Minute))
	s.end()
	if tally.passed != 1 || tally.failed != 1 {
		t.Errorf("%d passed, %d failed; want 1, 1", tally.passed, tally.failed)
	}
	for _, want := range []string{"cluster    …   p: [1/4] build kubernetes …\n", "cluster  ok    p TestA  1.5s\n", "p TestB  60s  building kubelet\n", "warning: not an event\n", "did not finish"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("printed\n%s\nwithout %q", &out, want)
		}
	}
	if strings.Contains(out.String(), "PASS") {
		t.Errorf("printed\n%s\nwith go test's own verdict", &out)
	}
}

func TestReport(t *testing.T) {
	good, _ := read(t, tiers[0], "good")
	mixed, _ := read(t, tiers[2], "mixed")
	skips, _ := read(t, tiers[3], "skips")
	for _, c := range []struct {
		tallies []*tally
		last    string
		ok      bool
	}{
		{[]*tally{good}, "5 passed, 0 failed, 0 skipped", true},
		{[]*tally{good, mixed}, "9 passed, 2 failed, 3 skipped", false},
		{[]*tally{good, skips}, "5 passed, 1 failed, 2 skipped", false},
	} {
		var out bytes.Buffer
		ok := report(&out, c.tallies)
		text := out.String()
		if ok != c.ok || !strings.HasSuffix(text, "\n\n"+c.last+"\n") {
			t.Errorf("all well: %v, want %v and %q at the end of\n%s", ok, c.ok, c.last, text)
		}
		for _, tally := range c.tallies {
			for _, e := range append(tally.skips, tally.failures...) {
				if !strings.Contains(text, "\n  "+e.where+": ") {
					t.Errorf("%s is not in\n%s", e.where, text)
				}
			}
		}
	}
}
