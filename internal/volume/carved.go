package volume

import (
	"strings"

	"github.com/berth-storage/berth/internal/disk"
)

// Carved is what the journal keeps of a volume out of a pool, besides what it
// keeps of each. The record's Entry is the volume's ID in the pool.
type Carved struct {
	Pool   string `json:"pool"`
	Bytes  int64  `json:"bytes"` // asked for; the pool may have given more
	Block  bool   `json:"block,omitempty"`
	FSType string `json:"fsType,omitempty"` // the filesystem to make on a device; "" for a directory and a raw device
	// Asked says that a CSI client asked for it by name, which keeps the PV and
	// says when it may go. Else a claim did.
	Asked bool `json:"asked,omitempty"`
	// Modes are the access modes that the claim asked for, and its PV offers.
	Modes []string `json:"modes,omitempty"`
}

// carvedPrefix begins the identity of a volume out of a pool. The rest is its ID
// there, which no other volume of the node has.
const carvedPrefix = "carved:"

// CarvedIdentity is the identity of the volume of that ID in any pool of the node.
func CarvedIdentity(id string) disk.ID { return disk.ID(carvedPrefix + id) }

// CarvedID is the ID in its pool of a volume with this identity; false for a
// found volume's.
func CarvedID(identity disk.ID) (id string, ok bool) {
	return strings.CutPrefix(string(identity), carvedPrefix)
}

// A Want is a claim that a volume is to be carved for on this node, or was.
type Want struct {
	Claim           Claim // with its UID
	ResourceVersion string
	Class           string
	Bytes           int64 // requested; a claim may ask for more later
	LimitBytes      int64 // at most; 0 for no limit
	Block           bool
	AccessModes     []string
	Node            string // the name of the node that was chosen for it; "" for none
	PV              string // the PV that it is bound to; "" for none
	Deleting        bool
	Unable          string // what it asks for besides that no pool gives, as a copy of another volume; "" for nothing
	// Of its status: what it has, and how far the wish for more has come, as
	// Kubernetes keeps it (status.allocatedResources, allocatedResourceStatuses).
	HasBytes       int64
	AllocatedBytes int64
	Resizing       string
}

// ID is the volume's that the claim gets: what Kubernetes' own provisioners call it.
func (w Want) ID() string { return "pvc-" + w.Claim.UID }
