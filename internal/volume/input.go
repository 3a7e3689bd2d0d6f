package volume

import "github.com/berth-storage/berth/internal/disk"

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
	Mark          *Mark       // what the directory says of itself; nil: nothing
	Markable      bool        // a mark may be written on it
	Refused       string      // why it must not be published anew; "" when it may
	// Medium is the identity of the device that it lies on, as a filesystem on a
	// partition lies on a disk; "" where that is not known, or is itself. A copy
	// made block by block has the identity, but not the medium.
	Medium disk.ID
	// Copy says what else bears this identity at the same time, so that which of
	// them is the volume cannot be told; "" when nothing does.
	Copy string
}

// PV is what the API says of a volume's PersistentVolume.
type PV struct {
	Name            string
	UID             string
	ResourceVersion string
	Identity        disk.ID
	Class           string
	Path            string
	Block           bool // volume mode Block
	CapacityBytes   int64
	Claim           *Claim
	Released        bool   // its claim is gone
	Delete          bool   // the reclaim policy is Delete
	Deleting        bool   // it has a deletion timestamp
	Held            bool   // Berth's finalizer is on it
	State           string // the trouble that its annotation tells of; decisions do not rest on it
	Handle          string // of a carved volume: what the kubelet calls it, and its Path too; "" of a found one
}

// Input is all that a decision rests on.
type Input struct {
	Disk   *Disk   // nil: not there
	Looked bool    // the place where the disk should be was read without error, so nil means gone
	Record *Record // nil: never seen before
	PV     *PV     // nil: not in the cache
	Absent bool    // the API server itself has confirmed that the PV does not exist
	Left   string  // the UID of a PV whose end was watched while no claim had it; "" for none
	Answer string  // the PV's resource version as the API server itself has answered it; "" when it was not asked
	Empty  *bool   // whether the directory is empty; nil: not examined
	Node   string  // the node's name
	Token  string  // what the mark of an offer that begins now is called; another one each time
	Rival  string  // a PV of another disk that a claim has and that points at the same path
	Other  disk.ID // the identity of another disk that is where this one was; "" for none

	// Of a carved volume only.
	Away   string   // why its pool cannot be read; "" while it can, or while that is not known
	Found  *Carved  // what its pool says of it, or else its PV; nil: nothing
	Noted  *Claim   // the claim that it was carved for, as its pool notes; nil: not known
	Want   *Want    // the claim that it is for; nil: none of this node's claims
	GrowTo int64    // what it is to grow to for that claim, in bytes; 0 for nothing
	Carve  *Carved  // what the claim would get here now; nil: nothing, for the reason in Unmet
	Unmet  *Refusal // why nothing can be carved for the claim
}

// Refusal says why a claim gets no volume here.
type Refusal struct {
	Message   string
	Elsewhere bool // another node may have one for it
}

// Verb is what to do next.
type Verb string

// The verbs. After each but Nothing, Publish and Wait, the volume is looked at anew.
const (
	Nothing  Verb = "Nothing"
	Wait     Verb = "Wait"     // nothing can be done; Reason and Message tell the operator why
	Keep     Verb = "Keep"     // write Record to the journal
	Confirm  Verb = "Confirm"  // ask the API server itself for the PV
	Examine  Verb = "Examine"  // see whether the directory is empty
	SetMark  Verb = "SetMark"  // write the record's mark on the disk
	Publish  Verb = "Publish"  // create the PV named in the record
	Withdraw Verb = "Withdraw" // delete the PV, as it was seen
	LetGo    Verb = "LetGo"    // take Berth's finalizer off the PV
	Wipe     Verb = "Wipe"     // erase and verify; of a carved volume also: give its space back
	Carve    Verb = "Carve"    // make the record's volume in its pool, then write Record to the journal
	Uncarve  Verb = "Uncarve"  // remove a volume that nobody has had from its pool
	GiveBack Verb = "GiveBack" // take back the choice of this node for the claim, for the reason in Message
	Grow     Verb = "Grow"     // make the volume, its PV and its claim as large as the claim asks
	Forget   Verb = "Forget"   // take the record out of the journal
)

// Cause says which kind of trouble a Wait is about.
type Cause string

// The causes.
const (
	Refused  Cause = "Refused"  // the disk is there and must not be published
	Gone     Cause = "Gone"     // a claimed volume's disk is not there
	Held     Cause = "Held"     // the volume is quarantined
	Occupied Cause = "Occupied" // another disk's bound PV points at this path
	Unmet    Cause = "Unmet"    // no volume can be carved for the claim
	Copied   Cause = "Copied"   // something else has the volume's identity, too, or it may be a copy
)

// Decision is one verb with what it needs.
type Decision struct {
	Verb    Verb
	Record  *Record
	Cause   Cause
	Message string
}
