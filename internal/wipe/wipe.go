// Package wipe erases a volume that a tenant had and verifies that it is
// erased: Contents for a directory, Block for a block device, in one of several
// ways. Killed at any point and started again, it comes to the same end.
//
// It does not decide whether a volume may be wiped, does not prove which disk
// it is given (opening one with package host does), keeps no record, and does
// not touch the machine but through package host. It starts goroutines only
// within a call, and they end before the call returns.
package wipe

import (
	"errors"
	"time"
)

// A Method is a way of erasing.
type Method string

const (
	// MethodContents removes everything in a directory.
	MethodContents Method = "contents"
	// MethodDiscard has a device deallocate its blocks, where it guarantees
	// that they read as zeroes from then on.
	MethodDiscard Method = "discard"
	// MethodZero writes zeroes, once or more often.
	MethodZero Method = "zero"
	// MethodShred writes random bytes, once or more often, and then zeroes.
	MethodShred Method = "shred"
	// MethodFormat has an NVMe namespace erase itself by its own command, which
	// reaches blocks that no request does, and then does as MethodDiscard.
	MethodFormat Method = "format"
	// MethodSignatures writes zeroes over what tells of filesystems, partitions
	// and members of other devices, and leaves the rest of the tenant's bytes
	// where the device does not discard them of its own will.
	MethodSignatures Method = "signatures"
)

// A Result says what a wipe did.
type Result struct {
	Method   Method
	Bytes    int64 // of the device erased by this call; each pass over it counts
	Verified int64 // bytes of the device read back
	Entries  int64 // files, directories and other entries removed
	Duration time.Duration
}

var (
	// ErrLeft: the wipe came to its end, and something is still in the volume.
	ErrLeft = errors.New("the volume is not as a new one after the wipe")
	// ErrNotZero: the device does not read as zeroes after the wipe.
	ErrNotZero = errors.New("the device does not read as zeroes after the wipe")
	// ErrSignature: the device still looks like a filesystem after the wipe.
	ErrSignature = errors.New("the device has a signature after the wipe")
	// ErrChanging: entries keep appearing in the volume while it is wiped.
	ErrChanging = errors.New("something keeps adding entries to the volume")
)
