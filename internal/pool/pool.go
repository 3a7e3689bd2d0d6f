// Package pool is the contract of a pool: space on one node out of which
// volumes are carved, each with a size that is enforced, and all of them
// together never more than there is. The kinds are the packages beneath;
// package pooltest is the suite that each of them passes.
//
// A volume's life:
//
//	Carve → Open ⇄ Close → Remove
//	          Grow at any point between
//
// A pool knows what is on its disk and nothing else: not what a volume is for,
// whether it may be removed, nor what Kubernetes thinks of it. Its callers keep
// records of that.
package pool

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"unicode/utf8"
)

// An ID names a volume within its pool, and on the disk.
type ID string

// validID is what all kinds can use for a name: a directory, a logical volume.
var validID = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// Check is an error that wraps ErrInvalid unless the ID is 1 to 63 lower case
// letters, digits and "-", with a letter or digit at both ends.
func (id ID) Check() error {
	if !validID.MatchString(string(id)) {
		return fmt.Errorf("%w: the volume ID %q; allowed: 1 to 63 of a-z, 0-9 and -, no - at the ends", ErrInvalid, string(id))
	}
	return nil
}

// A Mode is how pods see a volume; the values are those of a claim's volumeMode.
type Mode string

const (
	// Filesystem is a directory, or a device that a filesystem is made on.
	Filesystem Mode = "Filesystem"
	// Block is a raw device.
	Block Mode = "Block"
)

// A Spec is what a volume is wanted to be.
type Spec struct {
	ID    ID
	Bytes int64 // at least 1; the pool may give more
	Mode  Mode
	// Note is kept on the disk beside the volume, where no tenant can write, for
	// whoever finds it without any other record. At most 512 bytes of text. It is
	// no part of what makes two volumes differ.
	Note string
}

// A Volume is a piece of a pool.
type Volume struct {
	ID    ID
	Bytes int64 // what the volume can hold; it is kept free for it from Carve on
	Mode  Mode
	Note  string // the spec's
}

// Room is the space of a pool, in bytes.
type Room struct {
	Total   int64 // what volumes can have in all: without the reserve
	Free    int64 // what is not promised to a volume
	Largest int64 // the largest volume that Carve would make now
}

// A Reserve is what of a pool is never promised to a volume: so many bytes, and
// so many hundredths of all that the pool's disk has for volumes.
type Reserve struct {
	Bytes   int64
	Percent int // 0 to 99
}

// Of is the reserve in bytes, at most the total.
func (r Reserve) Of(total int64) int64 {
	share := total/100*int64(r.Percent) + total%100*int64(r.Percent)/100
	if r.Bytes >= total-share {
		return total
	}
	return r.Bytes + share
}

// Features say what volumes of a pool are.
type Features struct {
	// Enforced: a volume cannot grow over its size.
	Enforced bool
	// Device: volumes of mode Filesystem are devices too, on which the caller
	// makes a filesystem. Else they are directories, ready to use.
	Device bool
	// Raw: who gets the space next could read what was written there. The caller
	// wipes a volume before it removes it.
	Raw bool
}

// A Place is where an open volume is on this machine. One of the two is set.
type Place struct {
	Dir    string // a directory; its owner and mode are a tenant's to change
	Device string // a block device
}

var (
	// ErrInvalid: a Spec that no pool can make.
	ErrInvalid = errors.New("invalid")
	// ErrNoRoom: the pool has not that much left.
	ErrNoRoom = errors.New("there is not enough room in the pool")
	// ErrDiffers: there is a volume of that ID with another size or mode.
	ErrDiffers = errors.New("there is another volume of that ID")
	// ErrNotFound: there is no volume of that ID.
	ErrNotFound = errors.New("there is no such volume in the pool")
	// ErrBusy: the volume is open, or something on this machine uses it.
	ErrBusy = errors.New("the volume is in use")
	// ErrUnfit: the pool's disk or this machine lacks what the kind needs. The
	// message says what, and what to do.
	ErrUnfit = errors.New("cannot be a pool")
)

// A Pool is one pool. All methods may be called at once, and again after an
// error or a crash: a call that was stopped at any point leaves either what was
// there before or what it was to make, in the eyes of every later call.
type Pool interface {
	// Features never change while the pool is open.
	Features() Features
	// Room counts promises, not use: it changes by Carve, Grow and Remove only,
	// and by a change of the pool's own size. See Host for what is not a volume.
	Room(ctx context.Context) (Room, error)
	// Carve makes a volume that holds at least the bytes asked for and reads as
	// empty. One of that ID that is there already and fits the spec is returned
	// as it is; one that does not is ErrDiffers.
	Carve(ctx context.Context, s Spec) (Volume, error)
	// Volumes returns every whole volume on the disk, by ID.
	Volumes(ctx context.Context) ([]Volume, error)
	// Grow makes a volume hold at least that many bytes; it never shrinks one.
	// What a filesystem on a device makes of it is the caller's.
	Grow(ctx context.Context, id ID, bytes int64) (Volume, error)
	// Open makes a volume usable on this machine. To open an open one again is
	// no error, and gives the same place.
	Open(ctx context.Context, id ID) (Place, error)
	// Close is the end of Open; a volume that is not open, or not there, is no
	// error.
	Close(ctx context.Context, id ID) error
	// Remove erases a closed volume and returns its space; one that is not there
	// is no error. Of a Raw pool's volumes the caller has erased the bytes.
	Remove(ctx context.Context, id ID) error
}

// A Meter is a Pool that knows how much of a directory's promise is used, which
// statfs(2) does not tell of all kinds.
type Meter interface {
	// Used is of a volume of mode Filesystem. What was written last may not be
	// counted before the filesystem has it on disk.
	Used(ctx context.Context, id ID) (Usage, error)
}

// A Host is a Pool in a place where others can put things, too. These are left
// alone, and no volume is promised what they take.
type Host interface {
	// Strangers are the entries that are not Berth's, by name, as they were when
	// the pool was opened.
	Strangers() []Stranger
}

// A Stranger is something of others in a pool's directory.
type Stranger struct {
	Name  string
	Bytes int64 // what it takes of the filesystem
}

// Usage is what a volume holds.
type Usage struct {
	Bytes  int64
	Inodes int64 // files and directories; 0 where they are not counted
}

// mostNote is how many bytes a note can have: what fits into a tag of LVM's,
// 1024 characters (lvm(8)), also when it is encoded there.
const mostNote = 512

// CheckSpec is an error that wraps ErrInvalid for what no pool can make.
func CheckSpec(s Spec) error {
	if err := s.ID.Check(); err != nil {
		return err
	}
	if s.Bytes < 1 {
		return fmt.Errorf("%w: a volume of %d bytes; allowed: 1 and more", ErrInvalid, s.Bytes)
	}
	if s.Mode != Filesystem && s.Mode != Block {
		return fmt.Errorf("%w: the volume mode %q; allowed: %s, %s", ErrInvalid, s.Mode, Filesystem, Block)
	}
	if len(s.Note) > mostNote || !utf8.ValidString(s.Note) {
		return fmt.Errorf("%w: a note of %d bytes; allowed: text of up to %d", ErrInvalid, len(s.Note), mostNote)
	}
	return nil
}
