package volume

import "fmt"

// What is decided of a volume out of a pool. It is made for one claim and is
// never offered to another: it begins with Carving, where a found volume is
// Clean, and ends, where that one is Clean again, with its space given back and
// its record forgotten. All between is the same.

// carved reports whether the input is about a volume out of a pool.
func (in Input) carved() bool {
	return in.Want != nil || in.Found != nil || in.Record != nil && in.Record.Carved != nil
}

func decideCarved(in Input) Decision {
	switch r := in.Record; {
	case r == nil:
		return decideUncarved(in)
	case r.Carved == nil: // damaged: what is known of it is what was found
		in.Record = r.with(r.State, func(r *Record) { r.describe(in) })
	case r.Carved.Asked:
		return decideNamed(in)
	}
	switch in.Record.State {
	case Carving:
		return decideCarving(in)
	case Published:
		return decideOffered(in)
	case Used:
		switch d := decideUsed(in); {
		case d.Verb == Nothing && in.Disk == nil && in.Away != "" && in.PV.Claim != nil:
			return wait(Gone, fmt.Sprintf("volume %s, which PV %s is of, is in pool %s, and %s", in.Record.Entry, in.PV.Name, in.Record.Carved.Pool, in.Away))
		case d.Verb != Nothing || !grows(in):
			return d
		}
		return Decision{Verb: Grow, Record: in.Record}
	case Wiping:
		if in.Disk == nil && in.Looked { // its removal is the last of its wipe
			return keep(in.Record.with(Wiped, nil))
		}
		return decideWiping(in)
	case Wiped:
		switch {
		case in.Disk != nil:
			return keep(in.Record.with(Wiping, nil))
		case in.PV == nil && in.Absent:
			return Decision{Verb: Forget}
		}
		return decideWiped(in)
	case Quarantined:
		return decideQuarantined(in)
	case Returning:
		return decideReturning(in)
	}
	return quarantine(in, fmt.Sprintf("its journal record has the state %q, which a volume of a pool never has", in.Record.State))
}

// decideUncarved handles a volume that the journal does not know: a new claim,
// or a volume whose record was lost.
func decideUncarved(in Input) Decision {
	switch {
	case in.PV != nil: // it is made for one claim, so that claim may have had it
		r := recordOf(in)
		return keep(r.with(Used, func(r *Record) { r.Claim = in.PV.Claim }))
	case in.Disk != nil && !in.Absent:
		return Decision{Verb: Confirm}
	case in.Disk != nil:
		r := recordOf(in)
		return keep(r.with(Quarantined, func(r *Record) {
			r.Claim = in.Noted
			r.Reason = fmt.Sprintf("it is in pool %s, and neither the journal nor a PV knows it", r.Carved.Pool)
		}))
	case !in.wanted():
		return Decision{Verb: Nothing}
	case in.Carve == nil:
		return unmet(in)
	}
	claim := in.Want.Claim
	r := Record{Identity: CarvedIdentity(in.Want.ID()), Class: in.Want.Class, Entry: in.Want.ID(), State: Carving, Claim: &claim, Carved: in.Carve}
	r.ID = IDOf(r.Identity)
	return keep(&r)
}

// decideCarving makes the volume, or undoes it when the claim does not want it
// here any more: no PV has been created, so nobody has had it.
func decideCarving(in Input) Decision {
	switch {
	case in.PV != nil:
		return used(in)
	case in.wanted() && in.Carve != nil:
		return Decision{Verb: Carve, Record: in.Record.with(Published, func(r *Record) { r.PV = PVRef{Name: r.Entry} })}
	case in.Disk != nil:
		return Decision{Verb: Uncarve, Record: in.Record}
	case in.wanted():
		return unmet(in)
	case !in.Looked: // it may be there
		return Decision{Verb: Nothing}
	}
	return Decision{Verb: Forget}
}

// decideOffered creates the PV of a volume that is made. Before pods get a volume
// it is Used, so that here nobody has had it; but the PV may be there unseen.
func decideOffered(in Input) Decision {
	switch {
	case in.PV != nil:
		return used(in)
	case in.wanted() && in.Disk != nil:
		return Decision{Verb: Publish, Record: in.Record}
	case !in.Absent:
		return Decision{Verb: Confirm}
	case in.Disk == nil && !in.Looked:
		return Decision{Verb: Nothing}
	}
	return keep(in.Record.with(Carving, func(r *Record) { r.PV = PVRef{} }))
}

// decideNamed handles a volume that a CSI client asked for by its name. The
// client keeps its PV, and its word is what makes and removes it.
func decideNamed(in Input) Decision {
	if in.PV != nil { // of Berth's own making: from now on it speaks for the volume
		d := used(in)
		carved := *d.Record.Carved
		carved.Asked = false
		d.Record.Carved = &carved
		return d
	}
	switch in.Record.State {
	case Carving: // the client has had no answer, and asks again
		if in.Disk != nil {
			return Decision{Verb: Uncarve, Record: in.Record}
		}
	case Used:
		if in.Disk == nil && in.Looked {
			return wait(Gone, goneMessage(in))
		}
		return Decision{Verb: Nothing}
	case Wiping:
		if in.Disk != nil {
			return Decision{Verb: Wipe, Record: in.Record}
		}
	case Wiped:
		if in.Disk != nil { // its removal is the last of its wipe
			return keep(in.Record.with(Wiping, nil))
		}
	default:
		return decideQuarantined(in)
	}
	if !in.Looked {
		return Decision{Verb: Nothing}
	}
	return Decision{Verb: Forget}
}

// wanted reports whether the claim waits for a volume of this node.
func (in Input) wanted() bool {
	w := in.Want
	return w != nil && !w.Deleting && w.PV == "" && w.Node == in.Node
}

// unmet is what is done for a claim that gets nothing here.
func unmet(in Input) Decision {
	switch {
	case in.Unmet == nil: // not known yet
		return Decision{Verb: Nothing}
	case in.Unmet.Elsewhere:
		return Decision{Verb: GiveBack, Cause: Unmet, Message: in.Unmet.Message}
	}
	return wait(Unmet, in.Unmet.Message)
}

// grows reports whether the claim that has the volume is to get more.
func grows(in Input) bool {
	return in.GrowTo > 0 && in.Disk != nil && in.Want != nil && in.PV.Claim != nil && *in.PV.Claim == in.Want.Claim && !in.PV.Released
}

// describe takes into the record what was found of a carved volume.
func (r *Record) describe(in Input) {
	r.Carved = in.Found
	if r.Carved == nil {
		r.Carved = &Carved{}
	}
	if id, ok := CarvedID(r.Identity); ok {
		r.Entry = id
	}
	if in.Disk != nil && r.Class == "" {
		r.Class = in.Disk.Class
	}
}
