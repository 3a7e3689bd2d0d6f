package volume

import (
	"fmt"
	"strconv"
)

// What is decided once a claim has the volume, or had it.

func decideUsed(in Input) Decision {
	pv := in.PV
	switch {
	case pv == nil && !in.Absent:
		return Decision{Verb: Confirm}
	case pv == nil && in.Disk != nil && in.Disk.Keep:
		return keep(in.Record.with(Clean, func(r *Record) { r.PV = PVRef{} }))
	case pv == nil:
		return quarantine(in, fmt.Sprintf("its PV %s was removed while %s had it, or before its wipe", in.Record.PV.Name, tenant(in)))
	case restored(in) && !(in.Disk != nil && in.Disk.Keep):
		if unsure(in) {
			return Decision{Verb: Confirm}
		}
		return quarantine(in, fmt.Sprintf("its PV %s is in a form from before %s had it, as after restoring the cluster's database; the data is kept", pv.Name, tenant(in)))
	case pv.Claim != nil && (in.Record.Claim == nil || *in.Record.Claim != *pv.Claim || in.Record.PV.UID != pv.UID):
		return used(in)
	case abandoned(in):
		return quarantine(in, fmt.Sprintf("its PV %s was deleted by hand; the data of %s is kept", pv.Name, tenant(in)))
	case in.Disk == nil && in.Looked && pv.Claim == nil:
		return remove(pv) // nobody may bind what is not there
	case in.Disk == nil && in.Looked:
		return wait(Gone, goneMessage(in))
	case in.Disk == nil, pv.Claim == nil: // the claim was taken off on purpose, by the binder or a person
		return Decision{Verb: Nothing}
	case in.Disk.Copy != "" && !(in.Disk.Keep && pv.Released && pv.Delete):
		return wait(Copied, in.Disk.Copy)
	case pv.Released && pv.Delete && onOtherMedium(in):
		return quarantine(in, mediumMessage(in))
	case onOtherMedium(in):
		return wait(Copied, mediumMessage(in))
	case pv.Released && pv.Delete:
		next := Wiping
		if in.Disk.Keep {
			next = Wiped
		}
		return keep(in.Record.with(next, func(r *Record) { r.Offset = 0 }))
	}
	return Decision{Verb: Nothing}
}

// restored reports whether the PV of a used volume is not a later form of the
// one that was seen claimed, so that its lack of that claim, or another claim's
// release, says nothing of the data: the API server's database was put back to
// an earlier time. Resource versions of one kind of object grow (Kubernetes' API
// conventions); one that is no number proves nothing.
func restored(in Input) bool {
	if old, now := in.Record.Claim, in.PV.Claim; old != nil && now != nil && *old == *now {
		return false
	}
	then, err := strconv.ParseUint(in.Record.PV.Version, 10, 64)
	if err != nil || in.Record.PV.UID != in.PV.UID {
		return true
	}
	now, err := strconv.ParseUint(in.PV.ResourceVersion, 10, 64)
	return err != nil || now <= then
}

// unsure reports whether the PV may be an old form: a cache's first list may be
// from before what the journal has already seen.
func unsure(in Input) bool { return in.Answer == "" || in.PV.ResourceVersion != in.Answer }

// onOtherMedium reports whether what is there now cannot be the very bytes that
// a claim had, although it has their identity. Where the medium then or now is
// not known, there is no evidence of that.
func onOtherMedium(in Input) bool {
	then, now := in.Record.Medium, in.Disk.Medium
	return !in.Disk.Keep && then != "" && now != "" && then != now
}

func mediumMessage(in Input) string {
	return fmt.Sprintf("%s is %s on the device %s, and %s had it on the device %s: it is a copy, or was moved; it is not wiped in the other's stead",
		in.Disk.Path, in.Disk.Identity, in.Disk.Medium, tenant(in), in.Record.Medium)
}

// tenant names the last claim of a volume for a message.
func tenant(in Input) string {
	if in.Record.Claim == nil {
		return "a claim"
	}
	return "claim " + in.Record.Claim.String()
}

// abandoned reports whether a person deleted a PV that no claim has any more
// and that Berth cannot or must not wipe: the PV may go, the data stays.
func abandoned(in Input) bool {
	pv := in.PV
	if !pv.Deleting || pv.Claim != nil && !pv.Released {
		return false
	}
	wipeable := pv.Released && pv.Delete && (in.Disk != nil || !in.Looked)
	return !wipeable
}

// decideWiping goes on with a wipe. The record is the proof that this PV, by
// UID, was seen released with policy Delete; the PV need not exist any more. Or
// it is the proof that a person asked.
func decideWiping(in Input) Decision {
	pv := in.PV
	if in.Record.Asked != "" {
		return decideAskedWipe(in)
	}
	switch {
	case pv != nil && (pv.UID != in.Record.PV.UID || pv.Claim == nil) && unsure(in):
		return Decision{Verb: Confirm}
	case pv != nil && pv.Claim == nil:
		return quarantine(in, fmt.Sprintf("the claim was taken off its PV %s before the wipe was done", pv.Name))
	case pv != nil && (pv.UID != in.Record.PV.UID || !pv.Released || !pv.Delete):
		return used(in)
	case pv != nil && abandoned(in):
		return quarantine(in, fmt.Sprintf("its PV %s was deleted by hand before the wipe was done", pv.Name))
	case in.Disk == nil && in.Looked:
		return wait(Gone, goneMessage(in))
	case in.Disk == nil:
		return Decision{Verb: Nothing}
	case in.Disk.Keep:
		return quarantine(in, "its class became shared or read-only before the wipe was done")
	case in.Disk.Copy != "":
		return wait(Copied, in.Disk.Copy)
	case onOtherMedium(in):
		return quarantine(in, mediumMessage(in))
	}
	return Decision{Verb: Wipe, Record: in.Record}
}

func decideWiped(in Input) Decision {
	pv := in.PV
	switch {
	case pv == nil && !in.Absent:
		return Decision{Verb: Confirm}
	case pv == nil && in.Disk == nil:
		return keep(in.Record.with(Clean, func(r *Record) { r.PV = PVRef{} }))
	case pv == nil:
		return decideClean(in)
	case pv.UID != in.Record.PV.UID && unsure(in):
		return Decision{Verb: Confirm}
	case pv.Claim != nil && (pv.UID != in.Record.PV.UID || !pv.Released || in.Record.Claim == nil || *in.Record.Claim != *pv.Claim):
		return used(in)
	}
	return remove(pv)
}

// decideQuarantined keeps the volume from being handed out; a claim that has it
// keeps it.
func decideQuarantined(in Input) Decision {
	pv := in.PV
	if in.Record.Asked != "" {
		return decideAsked(in)
	}
	if d, certain := rebuild(in); certain {
		return d
	}
	if pv != nil && (pv.Free() || pv.Deleting && pv.Released) && (pv.Held || !pv.Deleting) {
		return remove(pv)
	}
	return wait(Held, in.Record.Reason)
}
