package volume

import (
	"errors"
	"fmt"
)

// giveUp is Obey for the word GiveUp. Unlike the others it is not only for what
// is held back: a volume whose pool is lost stays in the state in which it was.
func giveUp(in Input, c Command) (*Record, error) {
	r := in.Record
	switch {
	case r.Carved == nil:
		return nil, errors.New("it was not carved out of a pool; its record keeps no other disk from its place, and is needed on the day on which its own comes back")
	case r.Asked != "":
		return nil, fmt.Errorf("%s was asked for at %s and is under way", r.Asked, r.AskedAt)
	case in.Disk != nil:
		return nil, fmt.Errorf("it is in pool %s; delete its claim, or, where it is held back, wipe it", r.Carved.Pool)
	case !in.Looked && in.Away == "":
		return nil, errors.New("it is not known yet whether it is in its pool; try again")
	case in.PV == nil && !in.Absent || in.PV != nil && in.Answer == "":
		return nil, errors.New("the API server has not said whether the volume has a PV")
	case in.PV != nil && in.PV.had():
		return nil, fmt.Errorf("claim %s has it: PV %s is bound; delete that claim first", in.PV.Claim, in.PV.Name)
	case c.Claim != nil:
		return nil, fmt.Errorf("a claim is named, which only %s takes", Republish)
	}
	return r.with(Quarantined, func(r *Record) {
		if r.Reason == "" {
			r.Reason = "it is not in its pool"
		}
		r.Asked, r.AskedAt = GiveUp, c.At
	}), nil
}

// decideGivenUp forgets a volume that a person has given up, once it has no PV.
func decideGivenUp(in Input) Decision {
	if in.Disk != nil {
		return quarantine(in, fmt.Sprintf("%s; it was to be forgotten, and is in its pool again", in.Record.Reason))
	}
	return Decision{Verb: Forget}
}
