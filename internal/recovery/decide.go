package recovery

import (
	"fmt"
	"time"

	"github.com/berth-storage/berth/api"
)

// Verb is what to do with a volume, or with its claim.
type Verb string

// Nothing includes waiting and reporting.
const (
	Nothing     Verb = "nothing"
	Note        Verb = "note"         // that the node is gone, since now
	Forget      Verb = "forget"       // that it was; where its kubelet is, only when it is back
	DeleteClaim Verb = "delete claim" // if it is still bound to this PV
	DeletePV    Verb = "delete PV"
	LetGo       Verb = "let go" // take Berth's finalizer off
)

// Input is all that a decision rests on.
type Input struct {
	Volume Volume
	Node   Verdict
	Now    time.Time
	// Deadline is when the delay is over, the zero time when it has not been
	// noted yet that the node is gone.
	Deadline time.Time
	// Address is where the node's kubelet was last, "" if that is not known.
	Address string
}

// Decision is what to do. With a Reason it is also reported, once, with Why.
type Decision struct {
	Verb   Verb
	Reason string
	Why    string
	Until  time.Time // when to decide anew; zero for the next change
}

// Decide says what to do about a volume. Nothing is deleted before the delay is
// over, PVs neither: an agent that comes back in time and misses the PV of a
// disk cannot know what was done with it meanwhile.
func Decide(in Input) Decision {
	v := in.Volume
	if v.Owner.Uncertain != "" {
		return Decision{Verb: Nothing, Reason: api.ReasonNodeUncertain,
			Why: fmt.Sprintf("PV %s is left alone if its node is lost: %s", v.Name, v.Owner.Uncertain)}
	}
	noted := !in.Deadline.IsZero()
	switch in.Node.Standing {
	case Here:
		if noted || v.GoneSince != "" || v.Address != "" {
			return Decision{Verb: Forget}
		}
		return Decision{Verb: Nothing}
	case Alive:
		d := Decision{Verb: Nothing, Reason: api.ReasonNodeAlive, Until: in.Node.Until,
			Why: fmt.Sprintf("node %s has no Node object, but %s: nothing is deleted; restart the kubelet to make it register again, or stop it if the node is to go", v.Owner, in.Node.Why)}
		if noted || v.GoneSince != "" || v.Address != in.Address {
			d.Verb = Forget
		}
		return d
	case Quiet, Gone:
	default:
		return Decision{Verb: Nothing}
	}
	switch {
	case !noted:
		return Decision{Verb: Note}
	case in.Node.Standing == Quiet:
		return Decision{Verb: Nothing, Until: in.Node.Until}
	case in.Now.Before(in.Deadline):
		return Decision{Verb: Nothing, Until: in.Deadline}
	case v.claimed():
		return Decision{Verb: DeleteClaim}
	case v.Deleting && v.Held: // no agent will do it
		return Decision{Verb: LetGo}
	case v.stale() && !v.Deleting:
		return Decision{Verb: DeletePV}
	}
	return Decision{Verb: Nothing}
}
