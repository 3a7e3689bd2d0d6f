package recovery

import (
	"fmt"
	"time"
)

// A kubelet renews its Lease every quarter of the time it gives, which is 40 s
// unless it says otherwise (KubeletConfiguration, nodeLeaseDurationSeconds).
const leaseDuration = 40 * time.Second

// Standing is whether a volume's node is gone.
type Standing int

// The zero Standing is not known.
const (
	Unknown Standing = iota // it could not be looked up
	Here                    // it has a Node object
	Alive                   // it has no Node object, and its kubelet lives
	Quiet                   // it has no Node object, and its Lease has to be watched for longer
	Gone
)

// Evidence is what was found out about the nodes that a volume may be on.
type Evidence struct {
	// Node is the name of one that has a Node object, "" for none.
	Node string
	// Beats are their Leases, as far as there are any.
	Beats []Beat
	// Answered is what their kubelet answered at its last address, "" if nothing
	// has answered or nothing was asked.
	Answered string
}

// Beat is what was seen of one Lease.
type Beat struct {
	Node     string
	Renewed  time.Time     // by the kubelet's clock
	Duration time.Duration // 0 if it says none
	// Same is since when the Lease has been seen with this Renewed, by this
	// process and its clock.
	Same time.Time
	// Moved says that this process has seen it renewed since the Node object was
	// gone.
	Moved bool
}

// Verdict is a Standing, and why.
type Verdict struct {
	Standing Standing
	Why      string    // "" for Here and Gone
	Until    time.Time // when to look again, for Alive and Quiet; zero for any time
}

// Judge says whether the nodes are gone. Two witnesses have to agree: there is
// no Node object, and no kubelet gives a sign of life. A Lease is a sign of life
// until it has not changed for its duration under this process's eyes, and is
// older than twice its duration too: clocks differ, and a kubelet may hang for
// a while.
func Judge(e Evidence, now time.Time) Verdict {
	if e.Node != "" {
		return Verdict{Standing: Here}
	}
	if e.Answered != "" {
		return Verdict{Standing: Alive, Why: "its kubelet answers at " + e.Answered}
	}
	quiet := Verdict{Standing: Gone}
	for _, b := range e.Beats {
		d := b.Duration
		if d <= 0 {
			d = leaseDuration
		}
		watched, old := b.Same.Add(d), b.Renewed.Add(2*d)
		if !now.Before(watched) && !now.Before(old) {
			continue
		}
		until := watched
		if old.After(until) {
			// By at most a duration: the clocks may differ by much more.
			until = earlier(old, now.Add(d))
		}
		if b.Moved {
			return Verdict{Standing: Alive, Why: fmt.Sprintf("its kubelet renews the Lease %s", b.Node), Until: until}
		}
		quiet = Verdict{Standing: Quiet, Why: fmt.Sprintf("its Lease %s may still be renewed", b.Node), Until: until}
	}
	return quiet
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
