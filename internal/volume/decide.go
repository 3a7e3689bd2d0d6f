package volume

import "fmt"

// Decide says what to do next with a volume. It is pure: it is the only place
// where it is decided whether a volume is published, withdrawn or wiped.
func Decide(in Input) Decision {
	if in.carved() {
		return decideCarved(in)
	}
	if d, decided := decideMark(in); decided {
		return d
	}
	if in.Record == nil {
		return decideNew(in)
	}
	switch in.Record.State {
	case Clean:
		return decideClean(in)
	case Published:
		return decidePublished(in)
	case Withdrawing:
		return decideWithdrawing(in)
	case Used:
		return decideUsed(in)
	case Wiping:
		return decideWiping(in)
	case Wiped:
		return decideWiped(in)
	case Quarantined:
		return decideQuarantined(in)
	case Returning:
		return decideReturning(in)
	}
	return quarantine(in, fmt.Sprintf("its journal record has the unknown state %q", in.Record.State))
}

// decideNew handles a volume that the journal does not know: a new disk, or a
// node that lost its journal.
func decideNew(in Input) Decision {
	switch {
	case in.PV != nil && in.PV.Claim != nil:
		return keep(recordOf(in).with(Used, func(r *Record) { r.Claim = in.PV.Claim }))
	case in.PV != nil:
		return keep(recordOf(in).with(Published, nil))
	case in.Disk == nil:
		return Decision{Verb: Nothing}
	}
	if no, why := unfit(in); no {
		return why
	}
	if in.Disk.Markable && in.Empty == nil {
		return Decision{Verb: Examine}
	}
	return keep(recordOf(in).with(Published, func(r *Record) { r.offer(in) }))
}

func decideClean(in Input) Decision {
	switch {
	case in.PV != nil && in.PV.Claim != nil:
		return used(in)
	case in.PV != nil:
		return keep(in.Record.with(Published, func(r *Record) { r.PV = refOf(in.PV) }))
	case in.Disk == nil:
		return Decision{Verb: Nothing}
	}
	if no, why := unfit(in); no {
		return why
	}
	if in.Disk.Markable && in.Empty == nil {
		return Decision{Verb: Examine}
	}
	return keep(in.Record.with(Published, func(r *Record) {
		r.Class, r.Entry, r.Medium = in.Disk.Class, in.Disk.Entry, in.Disk.Medium
		r.PV, r.Claim, r.Reason, r.Offset = PVRef{}, nil, "", 0
		r.offer(in)
	}))
}

func decidePublished(in Input) Decision {
	pv := in.PV
	switch {
	case pv == nil:
		return decideVanished(in)
	case in.Record.PV.UID != "" && in.Record.PV.UID != pv.UID:
		return decideReplaced(in)
	case pv.Claim != nil:
		return used(in)
	case pv.Deleting, in.Disk == nil && in.Looked, in.Disk != nil && outdated(in):
		return keep(in.Record.with(Withdrawing, func(r *Record) { r.PV = refOf(pv) }))
	case in.Record.PV.UID != pv.UID:
		return keep(in.Record.with(Published, func(r *Record) { r.PV = refOf(pv) }))
	case in.Disk != nil && in.Disk.Medium != "" && in.Record.Medium != in.Disk.Medium: // no claim has had either
		return keep(in.Record.with(Published, func(r *Record) { r.Medium = in.Disk.Medium }))
	}
	return Decision{Verb: Nothing}
}

// decideVanished handles a volume without a PV that was published, or was about
// to be. Until Berth takes its finalizer off, a PV cannot go away, so one that
// was never confirmed to exist was never created. One without the finalizer may
// go at any time, and nothing is lost when its end was watched and no claim had
// it. Any other that did exist was taken by force or by a restored database, and
// a claim may have had it unseen.
func decideVanished(in Input) Decision {
	switch {
	case in.Record.PV.UID != "" && !in.Absent:
		return Decision{Verb: Confirm}
	case in.Record.PV.UID != "" && in.Record.PV.UID == in.Left:
		return keep(in.Record.with(Clean, func(r *Record) { r.PV = PVRef{} }))
	case in.Disk == nil:
		return Decision{Verb: Nothing}
	case in.Disk.Copy != "": // whichever is looked at says nothing of the other
		return wait(Copied, in.Disk.Copy)
	case in.Record.PV.UID == "" || in.Disk.Keep:
		if no, why := unfit(in); no {
			return why
		}
		if d, decided := decideBare(in); decided {
			return d
		}
		return Decision{Verb: Publish, Record: in.Record.with(Published, func(r *Record) { r.PV.UID = "" })}
	case in.Disk.Device || in.Empty != nil && !*in.Empty:
		return quarantine(in, fmt.Sprintf("its PV %s was removed while Berth did not look, and a claim may have written to it", in.Record.PV.Name))
	case in.Empty == nil:
		return Decision{Verb: Examine}
	}
	return keep(in.Record.with(Clean, func(r *Record) { r.PV = PVRef{} }))
}

// decideReplaced handles an unclaimed volume that has another PV than the one
// recorded, as after restoring the cluster's database. A claim may have had the
// recorded one unseen, and what has happened to this one says nothing of that.
func decideReplaced(in Input) Decision {
	pv := in.PV
	switch {
	case unsure(in):
		return Decision{Verb: Confirm}
	case in.Record.PV.Leaving: // that note was about the other PV
		return keep(in.Record.with(in.Record.State, func(r *Record) { r.PV.Leaving = false }))
	case in.Disk == nil && in.Looked && pv.Claim == nil:
		return remove(pv)
	case in.Disk == nil && pv.Claim == nil:
		return Decision{Verb: Nothing}
	case in.Disk == nil, in.Disk.Copy != "":
		return replaced(in)
	case in.Disk.Keep, !in.Disk.Device && in.Empty != nil && *in.Empty:
		if pv.Claim != nil {
			return used(in)
		}
		return keep(in.Record.with(Published, func(r *Record) { r.PV = refOf(pv) }))
	case in.Disk.Device, in.Empty != nil:
		return replaced(in)
	}
	return Decision{Verb: Examine}
}

func replaced(in Input) Decision {
	return quarantine(in, fmt.Sprintf("its PV %s was replaced by another while Berth did not look, and a claim may have written to it", in.PV.Name))
}

// decideWithdrawing takes an unclaimed PV away: deletion first, which keeps
// claims from binding it, then a note that it is leaving unclaimed, then the
// finalizer. A PV that goes without that note was taken by force.
func decideWithdrawing(in Input) Decision {
	pv := in.PV
	switch {
	case pv == nil && !in.Absent:
		return Decision{Verb: Confirm}
	case pv == nil && in.Record.PV.Leaving:
		return keep(in.Record.with(Clean, func(r *Record) { r.PV = PVRef{} }))
	case pv == nil:
		return decideVanished(in)
	case in.Record.PV.UID != pv.UID:
		return decideReplaced(in)
	case pv.Claim != nil: // a claim was faster than the deletion
		return used(in)
	case !pv.Deleting && in.Disk != nil && !outdated(in): // it is back
		return keep(in.Record.with(Published, func(r *Record) { r.PV = refOf(pv) }))
	case pv.Deleting && !in.Record.PV.Leaving:
		return keep(in.Record.with(Withdrawing, func(r *Record) { r.PV = refOf(pv); r.PV.Leaving = true }))
	}
	return remove(pv)
}

// remove is the next step in taking a PV away.
func remove(pv *PV) Decision {
	switch {
	case !pv.Deleting:
		return Decision{Verb: Withdraw}
	case pv.Held:
		return Decision{Verb: LetGo}
	}
	return Decision{Verb: Nothing} // others' finalizers are on it
}

// outdated reports whether an unclaimed PV says something else than the disk.
func outdated(in Input) bool {
	return in.PV.Path != in.Disk.Path || in.PV.Class != in.Disk.Class ||
		in.PV.CapacityBytes != in.Disk.CapacityBytes || in.Disk.Refused != "" || in.Disk.Copy != ""
}

// unfit reports whether a disk that no claim has must not be published, and what
// is decided instead.
func unfit(in Input) (bool, Decision) {
	switch {
	case in.Disk.Copy != "":
		return true, wait(Copied, in.Disk.Copy)
	case in.Disk.Refused != "":
		return true, wait(Refused, in.Disk.Refused)
	case in.Rival != "":
		return true, occupied(in)
	}
	return false, Decision{}
}

func recordOf(in Input) Record {
	r := Record{}
	if in.Disk != nil {
		r = Record{Identity: in.Disk.Identity, Class: in.Disk.Class, Entry: in.Disk.Entry, Medium: in.Disk.Medium, Root: in.Disk.Root, Mark: in.Disk.markID(in.Token)}
	} else {
		r = Record{Identity: in.PV.Identity, Class: in.PV.Class}
	}
	r.ID = IDOf(r.Identity)
	if in.carved() {
		r.describe(in)
	}
	if in.PV != nil {
		r.PV = refOf(in.PV)
		if in.PV.Claim != nil {
			// A tenant may have changed it already, and may have had another medium.
			r.Root, r.Medium = nil, ""
		}
	}
	return r
}

func refOf(pv *PV) PVRef { return PVRef{Name: pv.Name, UID: pv.UID, Version: pv.ResourceVersion} }

// used is the record of a volume whose PV is, or was, a claim's.
func used(in Input) Decision {
	return keep(in.Record.with(Used, func(r *Record) {
		r.PV = refOf(in.PV)
		if in.PV.Claim != nil {
			r.Claim = in.PV.Claim
		}
		r.renew(in)
	}))
}

func keep(r *Record) Decision { return Decision{Verb: Keep, Record: r} }

func wait(c Cause, message string) Decision {
	return Decision{Verb: Wait, Cause: c, Message: message}
}

func occupied(in Input) Decision {
	return wait(Occupied, fmt.Sprintf("%s is now another disk (%s) than PV %s, which a claim has, was made for; bring the old disk back or delete that claim", in.Disk.Path, in.Disk.Identity, in.Rival))
}

func quarantine(in Input, reason string) Decision {
	return keep(in.Record.with(Quarantined, func(r *Record) { r.Reason = reason }))
}

func goneMessage(in Input) string {
	if in.carved() {
		return fmt.Sprintf("volume %s, which PV %s is of, is not in pool %s any more; bring back the disk that the pool was on", in.Record.Entry, in.Record.PV.Name, in.Record.Carved.Pool)
	}
	if in.Other != "" {
		return fmt.Sprintf("the disk %s of PV %s is not there: %q of class %s is another one now, %s, which is not taken for it", in.Record.Identity, in.Record.PV.Name, in.Record.Entry, in.Record.Class, in.Other)
	}
	return fmt.Sprintf("the disk %s of PV %s is not there: nothing is mounted or linked at %q of class %s", in.Record.Identity, in.Record.PV.Name, in.Record.Entry, in.Record.Class)
}
