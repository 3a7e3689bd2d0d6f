package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// tellEvery is how often a slow tier says what it is at.
const tellEvery = 30 * time.Second

// tell says from time to time which tests of a slow tier are running, until
// the function that it returns is called.
func (s *stream) tell() (stop func()) {
	if !s.tier.slow {
		return func() {}
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(tellEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				s.tellRunning(now)
			}
		}
	}()
	return func() { close(done); <-stopped }
}

// tellRunning prints the tests that run, with the last thing each has said.
func (s *stream) tellRunning(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.packages)) {
		p := s.packages[name]
		for _, test := range slices.Sorted(maps.Keys(p.tests)) {
			r := p.tests[test]
			if r.action != "" || r.parent && p.runsBelow(test) {
				continue
			}
			said := strings.Split(strings.TrimSpace(text(r.output)), "\n")
			fmt.Fprintf(s.out, "%-8s  …    %s %s  %.0fs  %s\n", s.tier.name, short(name), test, now.Sub(r.began).Seconds(), said[len(said)-1])
		}
	}
}

func (p *pkg) runsBelow(test string) bool {
	for name, r := range p.tests {
		if strings.HasPrefix(name, test+"/") && r.action == "" {
			return true
		}
	}
	return false
}
