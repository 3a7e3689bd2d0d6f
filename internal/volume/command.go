package volume

import (
	"errors"
	"fmt"
	"strings"
)

// Word is what a person may decide over a quarantined volume.
type Word string

// The words.
const (
	Release   Word = "release"   // nobody's data is on it, or may be seen: it is published as it is
	Republish Word = "republish" // its data goes back to the claim that had it
	Erase     Word = "wipe"      // it is erased, verified and published as new
)

// Words are all words, in the order in which they are explained.
var Words = []Word{Release, Republish, Erase}

// Command is a person's word, with what the person was shown when giving it.
type Command struct {
	Word  Word
	Claim *Claim // to republish for, nil for the record's
	At    string // when, in RFC 3339 with nanoseconds; no other command of the volume has the same
}

// Obey returns the record to write down before anything is done for a command,
// or why the command is refused. Of the input it needs what the API server
// itself has just said: Absent, or an Answer. It is pure.
//
// The record stays Quarantined, with the word on it; Decide leads on from there,
// so that an agent that dies goes on where it was.
func Obey(in Input, c Command) (*Record, error) {
	r := in.Record
	switch {
	case r == nil:
		return nil, errors.New("the journal knows no such volume")
	case r.State != Quarantined:
		return nil, fmt.Errorf("it is %s, not %s; only a volume that is held back is decided over", r.State, Quarantined)
	case r.Asked != "":
		return nil, fmt.Errorf("%s was asked for at %s and is under way", r.Asked, r.AskedAt)
	case in.Disk == nil && in.carved():
		return nil, errors.New(strings.TrimSuffix("it is not in its pool now: "+in.Away, ": ") + "; bring the pool back first")
	case in.Disk == nil:
		return nil, errors.New("its disk is not there, or in two places; mount or connect it under its name first")
	case IDOf(in.Disk.Identity) != r.ID, r.Identity != "" && in.Disk.Identity != r.Identity:
		return nil, fmt.Errorf("the disk at %s is %s, not the volume's", in.Disk.Path, in.Disk.Identity)
	case in.Disk.Copy != "":
		return nil, fmt.Errorf("%s %s", in.Disk.Path, in.Disk.Copy)
	case in.PV == nil && !in.Absent || in.PV != nil && in.Answer == "":
		return nil, errors.New("the API server has not said whether the volume has a PV")
	case in.PV != nil && in.PV.had():
		return nil, fmt.Errorf("claim %s has it: PV %s is bound; delete that claim first", in.PV.Claim, in.PV.Name)
	case in.Rival != "":
		return nil, fmt.Errorf("PV %s, which a claim has, points at the same path %s and is another disk's", in.Rival, in.Disk.Path)
	}
	claim := r.Claim
	switch c.Word {
	case Release:
		if in.carved() {
			return nil, errors.New("it was carved for one claim, and is not offered to others; wipe it, which gives its space back, or republish it")
		}
	case Erase:
		if in.Disk.Keep {
			return nil, fmt.Errorf("class %s is shared or read-only, and such data is never wiped; release it, or republish it", in.Disk.Class)
		}
	case Republish:
		if c.Claim != nil {
			claim = c.Claim
		}
		if claim == nil || claim.Namespace == "" || claim.Name == "" {
			return nil, errors.New("the journal does not know which claim had it; name one with --claim NAMESPACE/NAME")
		}
		claim = &Claim{Namespace: claim.Namespace, Name: claim.Name}
	default:
		return nil, fmt.Errorf("%q is no command; allowed: %s, %s, %s", c.Word, Release, Republish, Erase)
	}
	if c.Word != Republish && c.Claim != nil {
		return nil, fmt.Errorf("a claim is named, which only %s takes", Republish)
	}
	if c.Word != Erase && in.Disk.Refused != "" {
		return nil, fmt.Errorf("%s %s", in.Disk.Path, in.Disk.Refused)
	}
	return r.with(Quarantined, func(r *Record) {
		r.Identity, r.Class, r.Entry = in.Disk.Identity, in.Disk.Class, in.Disk.Entry
		r.Medium, r.Lost = in.Disk.Medium, ""
		r.Claim, r.Asked, r.AskedAt = claim, c.Word, c.At
	}), nil
}

// ParseClaim reads NAMESPACE/NAME.
func ParseClaim(text string) (*Claim, error) {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok || namespace == "" || name == "" || strings.ContainsAny(name, "/ ") {
		return nil, fmt.Errorf("found claim %q; allowed: NAMESPACE/NAME", text)
	}
	return &Claim{Namespace: namespace, Name: name}, nil
}

// Free reports whether no claim has the PV. One that only names a claim, as
// republish makes it, is free until that claim has taken it and the binder has
// noted its UID.
func (p *PV) Free() bool { return p.Claim == nil || p.Claim.UID == "" }

// had reports whether a claim has the PV now.
func (p *PV) had() bool { return !p.Free() && !p.Released }

// Stays reports whether the volume is to be found at its last place only: what
// is on it is a tenant's, or a person has decided over the disk that was there.
func (r *Record) Stays() bool {
	switch r.State {
	case Used, Wiping, Returning:
		return true
	}
	return r.Asked != ""
}
