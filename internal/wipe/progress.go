package wipe

import (
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
