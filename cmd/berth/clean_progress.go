package main

import (
	"time"

	"github.com/berth-storage/berth/internal/wipe"
)

// A line of progress comes at most every lineEvery, and then when the work is a
// twentieth further or lineAtLeast has gone by.
const (
	lineEvery   = 5 * time.Second
	lineAtLeast = time.Minute
	linesInAll  = 20
)

// progress tells how far an erasure has come.
type progress struct {
	total int64
	now   func() time.Time
	say   say
	last  time.Time
	shown int64 // bytes
}

// reached is called with the bytes done so far.
func (p *progress) reached(off int64) error {
	since := p.now().Sub(p.last)
	if since < lineEvery || off-p.shown < p.total/linesInAll && since < lineAtLeast {
		return nil
	}
	p.last, p.shown = p.now(), off
	p.say("%d%% (%s of %s)", int64(float64(off)/float64(p.total)*100), wipe.Bytes(off), wipe.Bytes(p.total))
	return nil
}
