package wipe

import (
	"fmt"
	"sync"
	"time"
)

// A Phase is a part of a wipe that takes its time.
type Phase string

const (
	PhaseErase  Phase = "erase"  // bytes are overwritten or deallocated, or entries removed
	PhaseVerify Phase = "verify" // a device is read back
)

// A Stand is how far a wipe has come. Bytes are a device's, entries a
// directory's, of which nobody knows how many there are.
type Stand struct {
	Phase       Phase     // "" before there is anything to tell
	Since       time.Time // the phase's beginning in this run
	Resumed     int64     // bytes of the phase that an earlier run had done
	Done, Total int64     // bytes of the phase, all passes and earlier runs included
	Entries     int64     // removed in this run
}

// Rate is the phase's bytes, or the entries, a second so far; 0 while nothing
// can be said.
func (s Stand) Rate(now time.Time) float64 {
	seconds := now.Sub(s.Since).Seconds()
	if s.Phase == "" || seconds <= 0 {
		return 0
	}
	if s.Total > 0 {
		return float64(s.Done-s.Resumed) / seconds
	}
	return float64(s.Entries) / seconds
}

// Left is how long the phase takes yet at that rate, to the second; 0 while
// nothing can be said, as always of a directory.
func (s Stand) Left(now time.Time) time.Duration {
	rate := s.Rate(now)
	if rate <= 0 || s.Total <= 0 {
		return 0
	}
	// A device can be so slow that no Duration holds it.
	seconds := min(float64(s.Total-s.Done)/rate, float64(100*365*24*3600))
	return time.Duration(seconds) * time.Second
}

// Progress is where a wipe keeps its stand. It is of one wipe; anybody may ask
// at any time. A nil one keeps nothing.
type Progress struct {
	mu    sync.Mutex // guards stand
	stand Stand
}

// Now returns the stand.
func (p *Progress) Now() Stand {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stand
}

func (p *Progress) change(do func(s *Stand)) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	do(&p.stand)
}

func (p *Progress) begin(phase Phase, done, total int64) {
	p.change(func(s *Stand) {
		s.Phase, s.Since, s.Resumed, s.Done, s.Total = phase, time.Now(), done, done, total
	})
}

// add counts bytes; at says how many there are in all, where some were counted
// that have to be done again.
func (p *Progress) add(bytes int64) { p.change(func(s *Stand) { s.Done += bytes }) }
func (p *Progress) at(bytes int64)  { p.change(func(s *Stand) { s.Done = bytes }) }

func (p *Progress) removed() { p.change(func(s *Stand) { s.Entries++ }) }

// Set puts down the stand of work that this package does not do itself.
func (p *Progress) Set(stand Stand) { p.change(func(s *Stand) { *s = stand }) }

// Text says how far the wipe has come, how fast it is, and what is left.
func (s Stand) Text(now time.Time) string {
	rate := s.Rate(now)
	if s.Total <= 0 {
		return fmt.Sprintf("%d entries removed, %.0f a second", s.Entries, rate)
	}
	verb := "erased"
	if s.Phase == PhaseVerify {
		verb = "read back"
	}
	text := fmt.Sprintf("%s of %s %s (%d%%), %s a second", Bytes(s.Done), Bytes(s.Total), verb, int64(100*float64(s.Done)/float64(s.Total)), Bytes(int64(rate)))
	if left := s.Left(now); left > 0 {
		text += fmt.Sprintf(", %v left", left)
	}
	if s.Phase == PhaseErase {
		text += ", before it is read back"
	}
	return text
}

// Bytes is a number of bytes for a person.
func Bytes(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/(1<<20), "MiB"
	for _, larger := range []string{"GiB", "TiB"} {
		if f >= 1<<10 {
			f, unit = f/(1<<10), larger
		}
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}
