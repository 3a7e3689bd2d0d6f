package config

import "time"

// Wipe says how a released block device is erased.
type Wipe struct {
	Method WipeMethod
	// Passes is how often a method with passes overwrites the device, at least 1.
	Passes int
	// Command is the command line of WipeCommand, and of the Job where Job is
	// set; its first element is an absolute path.
	Command []string
	// Timeout bounds one run of a WipeCommand or of a Job.
	Timeout time.Duration
	// Job runs the wipe in a Kubernetes Job on the node, not in the agent.
	Job bool
}

// WipeMethod is a way to erase a block device.
type WipeMethod string

// The wipe methods.
const (
	// WipeErase discards where the device then reads zeros, else overwrites with
	// zeros, and reads back: all of a device up to 1 GiB, of a larger one 1 GiB,
	// at both ends and in samples between them.
	WipeErase WipeMethod = "Erase"
	// WipeZero overwrites with zeros, Passes times, and reads back as WipeErase.
	WipeZero WipeMethod = "Zero"
	// WipeShred overwrites with random bytes, Passes times, then with zeros, and
	// reads back as WipeErase.
	WipeShred WipeMethod = "Shred"
	// WipeSignatures discards the device if it can, overwrites with zeros where
	// something tells of a filesystem or a partition table, and reads that back.
	// It is quick, and what the device does not discard the next tenant can find.
	WipeSignatures WipeMethod = "Signatures"
	// WipeCommand runs Command and takes its exit status for the result, as
	// Berth cannot know what it does.
	WipeCommand WipeMethod = "Command"
)

// Defaults of the fields of Wipe.
const (
	DefaultShredPasses = 3
	DefaultWipeTimeout = 24 * time.Hour
)

// DefaultWipe is the wipe of a class that says nothing of it.
var DefaultWipe = Wipe{Method: WipeErase, Passes: 1, Timeout: DefaultWipeTimeout}

// SelectorTerm is one term of a node selector, spelt as Kubernetes does.
type SelectorTerm struct {
	MatchExpressions []Requirement
	MatchFields      []Requirement
}

// Requirement is one condition of a SelectorTerm: In, NotIn, Exists,
// DoesNotExist, Gt or Lt.
type Requirement struct {
	Key      string
	Operator string
	Values   []string
}

// Toleration is a pod's toleration of taints, spelt as Kubernetes does.
type Toleration struct {
	Key, Operator, Value, Effect string
	// Seconds is tolerationSeconds; nil tolerates for ever.
	Seconds *int64
}
