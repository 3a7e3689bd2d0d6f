package volume

import (
	"fmt"

	"github.com/berth-storage/berth/internal/disk"
)

// Disk is what the node says of a volume now.
type Disk struct {
	Identity      disk.ID
	Class         string
	Entry         string
	Path          string // as the node sees it, for the PV
	Device        bool   // a block device, not a directory
	CapacityBytes int64
	Root          *disk.Owner // of a directory
	Keep          bool        // the class is shared or read-only: its data is never wiped
	Refused       string      // why it must not be published anew; "" when it may
}

// PV is what the API says of a volume's PersistentVolume.
type PV struct {
	Name            string
	UID             string
	ResourceVersion string
	Identity        disk.ID
	Class           string
	Path            string
	CapacityBytes   int64
	Claim           *Claim
	Released        bool // its claim is gone
	Delete          bool // the reclaim policy is Delete
	Deleting        bool // it has a deletion timestamp
	Held            bool // Berth's finalizer is on it
}

// Input is all that a decision rests on.
type Input struct {
	Disk   *Disk   // nil: not there
	Looked bool    // the place where the disk should be was read without error, so nil means gone
	Record *Record // nil: never seen before
	PV     *PV     // nil: not in the cache
	Absent bool    // the API server itself has confirmed that the PV does not exist
	Empty  *bool   // whether the directory is empty; nil: not examined
	Rival  string  // a PV of another disk that a claim has and that points at the same path
}

// Verb is what to do next.
type Verb string

// The verbs. After each but Nothing, Publish and Wait, the volume is looked at anew.
const (
	Nothing  Verb = "Nothing"
	Wait     Verb = "Wait"     // nothing can be done; Reason and Message tell the operator why
	Keep     Verb = "Keep"     // write Record to the journal
	Confirm  Verb = "Confirm"  // ask the API server itself whether the PV is gone
	Examine  Verb = "Examine"  // see whether the directory is empty
	Publish  Verb = "Publish"  // create the PV named in the record
	Withdraw Verb = "Withdraw" // delete the PV, as it was seen
	LetGo    Verb = "LetGo"    // take Berth's finalizer off the PV
	Wipe     Verb = "Wipe"     // erase and verify
)

// Cause says which kind of trouble a Wait is about.
type Cause string

// The causes.
const (
	Refused  Cause = "Refused"  // the disk is there and must not be published
	Gone     Cause = "Gone"     // a claimed volume's disk is not there
	Held     Cause = "Held"     // the volume is quarantined
	Occupied Cause = "Occupied" // another disk's bound PV points at this path
)

// Decision is one verb with what it needs.
type Decision struct {
	Verb    Verb
	Record  *Record
	Cause   Cause
	Message string
}

// Decide says what to do next with a volume. It is pure: it is the only place
// where it is decided whether a volume is published, withdrawn or wiped.
func Decide(in Input) Decision {
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
	case in.Disk.Refused != "":
		return wait(Refused, in.Disk.Refused)
	case in.Rival != "":
		return occupied(in)
	}
	return keep(recordOf(in).with(Published, nil))
}

func decideClean(in Input) Decision {
	switch {
	case in.PV != nil && in.PV.Claim != nil:
		return keep(in.Record.with(Used, func(r *Record) { r.PV = refOf(in.PV); r.Claim = in.PV.Claim }))
	case in.PV != nil:
		return keep(in.Record.with(Published, func(r *Record) { r.PV = refOf(in.PV) }))
	case in.Disk == nil:
		return Decision{Verb: Nothing}
	case in.Disk.Refused != "":
		return wait(Refused, in.Disk.Refused)
	case in.Rival != "":
		return occupied(in)
	}
	return keep(in.Record.with(Published, func(r *Record) {
		r.Class, r.Entry = in.Disk.Class, in.Disk.Entry
		r.PV, r.Claim, r.Reason, r.Offset = PVRef{}, nil, "", 0
	}))
}

func decidePublished(in Input) Decision {
	pv := in.PV
	switch {
	case pv == nil:
		return decideVanished(in)
	case pv.Claim != nil:
		return keep(in.Record.with(Used, func(r *Record) { r.PV = refOf(pv); r.Claim = pv.Claim }))
	case pv.Deleting, in.Disk == nil && in.Looked, in.Disk != nil && outdated(in):
		return keep(in.Record.with(Withdrawing, func(r *Record) { r.PV = refOf(pv) }))
	case in.Record.PV.UID != pv.UID:
		return keep(in.Record.with(Published, func(r *Record) { r.PV = refOf(pv) }))
	}
	return Decision{Verb: Nothing}
}

// decideVanished handles a volume without a PV that was published, or was about
// to be. Until Berth takes its finalizer off, a PV cannot go away, so one that
// was never confirmed to exist was never created. One that did exist was taken
// by force or by a restored database, and a claim may have had it unseen.
func decideVanished(in Input) Decision {
	switch {
	case in.Record.PV.UID != "" && !in.Absent:
		return Decision{Verb: Confirm}
	case in.Disk == nil:
		return Decision{Verb: Nothing}
	case in.Record.PV.UID == "" || in.Disk.Keep:
		if in.Disk.Refused != "" {
			return wait(Refused, in.Disk.Refused)
		}
		if in.Rival != "" {
			return occupied(in)
		}
		return Decision{Verb: Publish, Record: in.Record.with(Published, func(r *Record) { r.PV.UID = "" })}
	case in.Disk.Device || in.Empty != nil && !*in.Empty:
		return quarantine(in, fmt.Sprintf("its PV %s was removed while Berth did not look, and a claim may have written to it", in.Record.PV.Name))
	case in.Empty == nil:
		return Decision{Verb: Examine}
	}
	return keep(in.Record.with(Clean, func(r *Record) { r.PV = PVRef{} }))
}

// decideWithdrawing takes an unclaimed PV away: deletion first, which keeps
// claims from binding it, then the finalizer.
func decideWithdrawing(in Input) Decision {
	pv := in.PV
	switch {
	case pv == nil && !in.Absent:
		return Decision{Verb: Confirm}
	case pv == nil:
		return keep(in.Record.with(Clean, func(r *Record) { r.PV = PVRef{} }))
	case pv.Claim != nil: // a claim was faster than the deletion
		return keep(in.Record.with(Used, func(r *Record) { r.PV = refOf(pv); r.Claim = pv.Claim }))
	case !pv.Deleting && in.Disk != nil && !outdated(in): // it is back
		return keep(in.Record.with(Published, func(r *Record) { r.PV = refOf(pv) }))
	}
	return remove(pv)
}

func decideUsed(in Input) Decision {
	pv := in.PV
	switch {
	case pv == nil && !in.Absent:
		return Decision{Verb: Confirm}
	case pv == nil && in.Disk != nil && in.Disk.Keep:
		return keep(in.Record.with(Clean, func(r *Record) { r.PV = PVRef{} }))
	case pv == nil:
		return quarantine(in, fmt.Sprintf("its PV %s was removed while claim %s had it, or before its wipe", in.Record.PV.Name, in.Record.Claim))
	case pv.Claim != nil && (in.Record.Claim == nil || *in.Record.Claim != *pv.Claim || in.Record.PV.UID != pv.UID):
		return keep(in.Record.with(Used, func(r *Record) { r.PV = refOf(pv); r.Claim = pv.Claim }))
	case abandoned(in):
		return quarantine(in, fmt.Sprintf("its PV %s was deleted by hand; the data of claim %s is kept", pv.Name, in.Record.Claim))
	case in.Disk == nil && in.Looked:
		return wait(Gone, goneMessage(in))
	case in.Disk == nil:
		return Decision{Verb: Nothing}
	case pv.Released && pv.Delete:
		next := Wiping
		if in.Disk.Keep {
			next = Wiped
		}
		return keep(in.Record.with(next, func(r *Record) { r.Offset = 0 }))
	}
	return Decision{Verb: Nothing}
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
// UID, was seen released with policy Delete; the PV need not exist any more.
func decideWiping(in Input) Decision {
	pv := in.PV
	switch {
	case pv != nil && (pv.UID != in.Record.PV.UID || !pv.Released || !pv.Delete):
		return keep(in.Record.with(Used, func(r *Record) { r.PV = refOf(pv); r.Claim = pv.Claim }))
	case pv != nil && abandoned(in):
		return quarantine(in, fmt.Sprintf("its PV %s was deleted by hand before the wipe was done", pv.Name))
	case in.Disk == nil && in.Looked:
		return wait(Gone, goneMessage(in))
	case in.Disk == nil:
		return Decision{Verb: Nothing}
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
	case pv.UID != in.Record.PV.UID || pv.Claim != nil && !pv.Released:
		return keep(in.Record.with(Used, func(r *Record) { r.PV = refOf(pv); r.Claim = pv.Claim }))
	}
	return remove(pv)
}

// decideQuarantined keeps the volume from being handed out; a claim that has it
// keeps it.
func decideQuarantined(in Input) Decision {
	pv := in.PV
	if pv != nil && (pv.Claim == nil || pv.Deleting && pv.Released) && (pv.Held || !pv.Deleting) {
		return remove(pv)
	}
	return wait(Held, in.Record.Reason)
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
		in.PV.CapacityBytes != in.Disk.CapacityBytes || in.Disk.Refused != ""
}

func recordOf(in Input) Record {
	r := Record{}
	if in.Disk != nil {
		r = Record{Identity: in.Disk.Identity, Class: in.Disk.Class, Entry: in.Disk.Entry, Root: in.Disk.Root}
	} else {
		r = Record{Identity: in.PV.Identity, Class: in.PV.Class}
	}
	r.ID = IDOf(r.Identity)
	if in.PV != nil {
		r.PV = refOf(in.PV)
		if in.PV.Claim != nil {
			r.Root = nil // a tenant may have changed it already
		}
	}
	return r
}

func refOf(pv *PV) PVRef { return PVRef{Name: pv.Name, UID: pv.UID} }

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
	return fmt.Sprintf("the disk %s of PV %s is not there: nothing is mounted or linked at %q of class %s", in.Record.Identity, in.Record.PV.Name, in.Record.Entry, in.Record.Class)
}
