package config

import (
	"slices"
	"strconv"
	"time"
)

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
	// zeros, and reads everything back.
	WipeErase WipeMethod = "Erase"
	// WipeZero overwrites with zeros, Passes times, and reads everything back.
	WipeZero WipeMethod = "Zero"
	// WipeShred overwrites with random bytes, Passes times, then with zeros, and
	// reads everything back.
	WipeShred WipeMethod = "Shred"
	// WipeSignatures erases what tells that there is a filesystem or a partition
	// table, and leaves the data: it is quick, and the next tenant can find it.
	WipeSignatures WipeMethod = "Signatures"
	// WipeCommand runs Command and takes its exit status for the result.
	WipeCommand WipeMethod = "Command"
)

// CommandLine is the program, with its arguments, that does the wipe in a
// container of Berth's image; that of WipeCommand is the class's own. It finds
// the device's path in the environment variable LOCAL_PV_BLKDEVICE.
func (w Wipe) CommandLine() []string {
	switch w.Method {
	case WipeZero:
		return []string{"/scripts/dd_zero.sh", strconv.Itoa(w.Passes)}
	case WipeShred:
		return []string{"/scripts/shred.sh", strconv.Itoa(w.Passes)}
	case WipeSignatures:
		return []string{"/scripts/quick_reset.sh"}
	case WipeCommand:
		return slices.Clone(w.Command)
	}
	return []string{"/usr/local/bin/berth", "clean", "erase"}
}

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
