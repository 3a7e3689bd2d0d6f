// Package inventory judges: it turns the facts of package disk into a verdict
// on a block device, with the evidence for it.
//
// It reads nothing and changes nothing; the same facts give the same verdict.
package inventory

import (
	"fmt"
	"strings"

	"github.com/berth-storage/berth/internal/disk"
)

// Verdict is what the inventory concludes of a disk.
type Verdict string

// The verdicts on a device that somebody put into a discovery directory.
const (
	Free    Verdict = "Free"    // nothing uses it
	Foreign Verdict = "Foreign" // nothing uses it now, but its bytes say that something else owns it
	InUse   Verdict = "InUse"   // mounted, swapped on, or other devices are built on it
	Unknown Verdict = "Unknown" // it cannot be told; never treated as Free
)

// Judgement is a verdict with what it rests on, in words for a person.
type Judgement struct {
	Verdict  Verdict
	Evidence string
}

// Use is how the running system uses a device, as far as this process sees it.
type Use struct {
	Mounts  []disk.Mount
	Swapped bool
	// Member is what the device's own bytes say that it is part of, as
	// disk.ReadMember tells; "" for nothing, and where they were not read.
	Member string
}

// Classify judges a block device that was found in a discovery directory. That
// somebody put it there says that Berth may have it; Classify guards against
// one that something else is using at the same time.
func Classify(b disk.Block, use Use) Judgement {
	switch {
	case b.SizeBytes <= 0:
		return Judgement{Unknown, "the device has no size: no medium, or it is going away"}
	case b.ReadOnly:
		return Judgement{Unknown, "the device is read-only, so it could not be wiped"}
	case len(b.Partitions) > 0:
		return Judgement{InUse, "it has partitions: " + strings.Join(b.Partitions, ", ") + "; publish those, or remove them"}
	case len(b.Holders) > 0:
		return Judgement{InUse, "other devices are built on it: " + strings.Join(b.Holders, ", ")}
	case use.Swapped:
		return Judgement{InUse, "it is swap space"}
	case len(use.Mounts) > 0:
		return Judgement{InUse, fmt.Sprintf("its filesystem is mounted on %s", use.Mounts[0].Point)}
	case use.Member != "":
		return Judgement{Foreign, fmt.Sprintf("nothing uses it now, but it bears the mark of %s; if nobody needs what is on it, take the mark off with wipefs -a", use.Member)}
	}
	return Judgement{Free, "no partitions, holders, swap or mounts"}
}
