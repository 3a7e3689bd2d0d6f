package volume

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/berth-storage/berth/internal/disk"
)

// ID names a volume in the journal: a hash of its identity, fit for a file name.
type ID string

// IDOf returns the volume ID for an identity.
func IDOf(identity disk.ID) ID {
	sum := sha256.Sum256([]byte(identity))
	return ID(hex.EncodeToString(sum[:16]))
}

// State is where a volume is in its life.
type State string

// The states. The comment says what is known to be true of the volume's bytes.
const (
	Carving     State = "Carving"     // it is being made out of a pool, or about to be; nobody but Berth has ever had it
	Clean       State = "Clean"       // as its owner brought it, or wiped and verified; no claim has had it since
	Published   State = "Published"   // a PV exists or is about to; no claim was seen on it
	Withdrawing State = "Withdrawing" // its PV is being deleted; no claim has had it
	Used        State = "Used"        // a claim has it or had it: it holds a tenant's data
	Wiping      State = "Wiping"      // its PV was seen released with policy Delete, or a person asked; the wipe may have begun
	Wiped       State = "Wiped"       // the wipe is verified; the old PV may still be there
	Quarantined State = "Quarantined" // held back, with a reason, until a person decides
	Returning   State = "Returning"   // a person gives it back: its PV names the record's claim, whose data it holds, and waits for it
)

// Illegible is the lost state of a damaged record that does not tell it.
const Illegible State = "Illegible"

// PVRef names a PersistentVolume. UID is empty until the API server has
// answered the creation. Version is the resource version it had when the record
// was made. Leaving says that it was unclaimed and being deleted then, so that
// Berth may let it go.
type PVRef struct {
	Name    string `json:"name,omitempty"`
	UID     string `json:"uid,omitempty"`
	Version string `json:"version,omitempty"`
	Leaving bool   `json:"leaving,omitempty"`
}

// Claim names a PersistentVolumeClaim.
type Claim struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid,omitempty"`
}

func (c Claim) String() string { return c.Namespace + "/" + c.Name }

// Record is what the journal keeps of one volume.
type Record struct {
	ID       ID          `json:"id"`
	Identity disk.ID     `json:"identity"`
	Class    string      `json:"class"`
	Entry    string      `json:"entry"` // name in the class's discovery directory
	State    State       `json:"state"`
	Medium   disk.ID     `json:"medium,omitempty"` // of the disk when it was published last; see Disk
	PV       PVRef       `json:"pv"`
	Claim    *Claim      `json:"claim,omitempty"`    // the last one
	Root     *disk.Owner `json:"root,omitempty"`     // of a directory, before its first claim
	Offset   int64       `json:"offset,omitempty"`   // how far the wipe of a block device has come, in bytes over all its passes
	OffsetOf string      `json:"offsetOf,omitempty"` // which wipe that is
	Job      string      `json:"job,omitempty"`      // name of the PV whose Job was begun to wipe it, until that is removed
	Mark     string      `json:"mark,omitempty"`     // ID of the mark that it bears, or that is to be written; "" once it is wiped
	Bare     bool        `json:"bare,omitempty"`     // the directory was empty when the PV that is about to be created was decided on
	Reason   string      `json:"reason,omitempty"`   // why it is quarantined
	Asked    Word        `json:"asked,omitempty"`    // what a person asked for and is not done yet
	AskedAt  string      `json:"askedAt,omitempty"`  // when, in RFC 3339 with nanoseconds; tells one wipe that was asked for from the next
	Lost     State       `json:"lost,omitempty"`     // it stands for a damaged record with this state, or Illegible; "" where that cannot be rebuilt
	// MarkBefore is the ID of the mark that it may still bear while it is about to
	// be published.
	MarkBefore string `json:"markBefore,omitempty"`
	// Carved says what a volume out of a pool is; nil for a found one.
	Carved *Carved `json:"carved,omitempty"`
}

// with returns a copy of the record in another state. What a person asked for is over with the state in which it is done.
func (r Record) with(s State, edit func(*Record)) *Record {
	r.State = s
	if s != Wiping && s != Wiped {
		r.Asked, r.AskedAt = "", ""
	}
	if edit != nil {
		edit(&r)
	}
	return &r
}
