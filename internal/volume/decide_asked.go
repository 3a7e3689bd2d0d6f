package volume

import "fmt"

// What is decided once a person has given a word over a quarantined volume.

// decideAsked does what a command needs first: the PVs from before are taken
// away, so that none of them says anything of the volume any more. What follows
// begins once the API server itself has said that there is none.
func decideAsked(in Input) Decision {
	pv, word := in.PV, in.Record.Asked
	switch {
	case pv == nil && !in.Absent, pv != nil && unsure(in):
		return Decision{Verb: Confirm}
	case pv != nil && pv.had():
		return quarantine(in, fmt.Sprintf("%s; %s was asked for and not done, because claim %s has its PV %s now", in.Record.Reason, word, pv.Claim, pv.Name))
	case pv != nil && pv.Deleting && !pv.Held:
		return wait(Held, fmt.Sprintf("%s; %s is asked for, and waits for PV %s to go, which others' finalizers hold", in.Record.Reason, word, pv.Name))
	case pv != nil:
		return remove(pv)
	case word == GiveUp:
		return decideGivenUp(in)
	case in.Disk == nil:
		return wait(Held, fmt.Sprintf("%s; %s is asked for, and waits for its disk", in.Record.Reason, word))
	case in.Disk.Copy != "":
		return wait(Copied, in.Disk.Copy)
	case onOtherMedium(in):
		return quarantine(in, fmt.Sprintf("%s; %s was asked for and not done: %s", in.Record.Reason, word, mediumMessage(in)))
	case word == Erase && in.Disk.Keep:
		return quarantine(in, fmt.Sprintf("%s; its class became shared or read-only before the wipe that was asked for", in.Record.Reason))
	}
	next := map[Word]State{Release: Clean, Republish: Returning, Erase: Wiping}[word]
	if next == "" {
		return quarantine(in, fmt.Sprintf("%s; %q was asked for, which is not known", in.Record.Reason, word))
	}
	return keep(in.Record.with(next, func(r *Record) {
		r.PV, r.Reason = PVRef{Name: r.PV.Name}, ""
		r.Offset, r.OffsetOf = 0, ""
	}))
}

// decideAskedWipe goes on with a wipe that a person asked for. There is no PV to
// speak for it, and none may be there: one that has come since may be a claim's.
func decideAskedWipe(in Input) Decision {
	switch {
	case in.PV == nil && !in.Absent, in.PV != nil && unsure(in):
		return Decision{Verb: Confirm}
	case in.PV != nil:
		return quarantine(in, fmt.Sprintf("it had a PV again, %s, before the wipe that was asked for was done", in.PV.Name))
	case in.Disk == nil && in.Looked:
		return wait(Gone, fmt.Sprintf("the disk %s is not there: nothing is mounted or linked at %q of class %s; the wipe that was asked for waits for it",
			in.Record.Identity, in.Record.Entry, in.Record.Class))
	case in.Disk == nil:
		return Decision{Verb: Nothing}
	case in.Disk.Keep:
		return quarantine(in, "its class became shared or read-only before the wipe that was asked for was done")
	case in.Disk.Copy != "":
		return wait(Copied, in.Disk.Copy)
	case onOtherMedium(in):
		return quarantine(in, mediumMessage(in))
	}
	return Decision{Verb: Wipe, Record: in.Record}
}

// decideReturning publishes a volume for one claim and waits for that claim.
// Nobody else may get a PV of it, and one that goes unseen leads back to
// quarantine: the claim may have had it and been deleted.
func decideReturning(in Input) Decision {
	pv, r := in.PV, in.Record
	if pv == nil {
		return decideNotReturned(in)
	}
	misplaced := in.Disk == nil && in.Looked || in.Disk != nil && outdated(in)
	switch {
	case r.PV.UID != "" && r.PV.UID != pv.UID && unsure(in):
		return Decision{Verb: Confirm}
	case r.PV.UID != "" && r.PV.UID != pv.UID:
		return quarantine(in, fmt.Sprintf("its PV %s was replaced by another before claim %s had it back", pv.Name, r.Claim))
	case !r.returnsTo(pv.Claim):
		return quarantine(in, fmt.Sprintf("its PV %s is not for claim %s, which was to have it back", pv.Name, r.Claim))
	case pv.Released && r.PV.UID == "":
		// Of an earlier claim of the same name, as after restoring the cluster's
		// database: its release says nothing of the data.
		return quarantine(in, fmt.Sprintf("its PV %s was released by claim %s without having been seen to return its data", pv.Name, r.Claim))
	case !pv.Free():
		return used(in)
	case r.PV.Leaving && !pv.Deleting && !misplaced && in.Disk != nil: // it is back
		return keep(r.with(Returning, func(r *Record) { r.PV = refOf(pv) }))
	case r.PV.Leaving:
		return remove(pv)
	case pv.Deleting:
		return quarantine(in, fmt.Sprintf("its PV %s was deleted before claim %s had it back", pv.Name, r.Claim))
	case misplaced:
		return keep(r.with(Returning, func(r *Record) { r.PV = refOf(pv); r.PV.Leaving = true }))
	case r.PV.UID != pv.UID:
		return keep(r.with(Returning, func(r *Record) { r.PV = refOf(pv) }))
	}
	return Decision{Verb: Nothing}
}

func decideNotReturned(in Input) Decision {
	r := in.Record
	switch {
	case r.PV.UID != "" && !in.Absent:
		return Decision{Verb: Confirm}
	case r.PV.UID != "" && r.PV.Leaving: // Berth took it away, as its disk was not there
		return keep(r.with(Returning, func(r *Record) { r.PV = PVRef{Name: r.PV.Name} }))
	case r.PV.UID != "":
		return quarantine(in, fmt.Sprintf("its PV %s was removed before claim %s had it back", r.PV.Name, r.Claim))
	case in.Disk == nil:
		return Decision{Verb: Nothing}
	case onOtherMedium(in):
		return wait(Copied, mediumMessage(in))
	}
	if no, why := unfit(in); no {
		return why
	}
	return Decision{Verb: Publish, Record: r}
}

// returnsTo reports whether a PV's claim is the one that the volume goes back to.
func (r *Record) returnsTo(c *Claim) bool {
	return c != nil && r.Claim != nil && c.Namespace == r.Claim.Namespace && c.Name == r.Claim.Name
}
