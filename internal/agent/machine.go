package agent

import (
	"context"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/volume"
	"github.com/berth-storage/berth/internal/wipe"
)

// kind is what an entry of a discovery directory looks like from outside.
type kind string

const (
	kindMount  kind = "mount"  // a directory with a mount on it
	kindDevice kind = "device" // a block device, or a link to one
	kindOther  kind = "other"  // something that is no volume; why says what
)

// entry is one name in a class's discovery directory. Two equal entries need
// not be inspected twice.
type entry struct {
	Class, Name  string
	Kind         kind
	Why          string     // of kindOther: what it is, and what to do
	Mount        disk.Mount // of kindMount
	Major, Minor int        // of kindDevice
	SizeBytes    int64      // of kindDevice
	Refused      string     // of kindDevice: why it must not be published; "" when it may
	Device       string     // of kindDevice: the kernel's name of it
	ID           disk.ID    // of kindDevice: its identity, "" for none of its own
	SameNumber   string     // of kindDevice: disk.SameNumber, with commas
}

// key is where an entry is found.
type key struct{ class, name string }

func (e entry) key() key { return key{e.Class, e.Name} }

// machine is what the agent needs of the node it runs on. Each call is one step
// after which the agent may be killed; crash tests put a machine here that dies
// at a given one.
type machine interface {
	// Scan lists the discovery directories of the classes. It never waits for a
	// disk that does not answer. A directory that cannot be read is in errs
	// under its class; one that does not exist has an fs.ErrNotExist.
	Scan(classes []config.Class) (entries []entry, errs map[string]error, err error)
	// Inspect looks at the disk behind an entry, and may wait for it. What is no
	// volume gives no disk and a problem in words.
	Inspect(class config.Class, e entry) (d *volume.Disk, problem string, err error)
	// Empty reports whether the directory behind an entry has no contents.
	Empty(class config.Class, e entry, identity disk.ID) (bool, error)
	// Disk names the physical disk behind an entry: entries with the same answer
	// slow each other down. It reads sysfs, and never waits for the disk.
	Disk(e entry) string
	// Mark writes a mark on the directory behind an entry, after proving through
	// the open descriptor that it has this identity. Once a durable one is written
	// it survives a power cut.
	Mark(class config.Class, e entry, identity disk.ID, text []byte, durable bool) error
	// Wipe erases and verifies the disk behind an entry, after proving through
	// the open descriptor that it has this identity, and takes its mark off.
	Wipe(ctx context.Context, class config.Class, w wipeJob) (wipeResult, error)

	// Of volumes out of pools. Format makes a filesystem on a device that nobody
	// has had.
	Format(ctx context.Context, device, fsType string) error
	// Mounts are where a directory is mounted on its own. It touches no disk.
	Mounts(dir string) ([]string, error)
	// WipePiece erases and verifies an open device of a pool.
	WipePiece(ctx context.Context, how config.Wipe, device string, w wipeJob) (wipeResult, error)
}

// wipeJob is one wipe.
type wipeJob struct {
	Entry    entry
	Identity disk.ID
	Root     *disk.Owner // to give the directory back to; nil leaves the owner as it is
	Offset   int64       // how far an earlier run of the same wipe of a block device has come
	// Reached is called now and then with how far this one has come, in bytes
	// over all passes.
	Reached func(offset int64) error
	// Progress is told how far this one is at any moment, where the machine knows.
	Progress *wipe.Progress
	// Output gets each line that a command prints.
	Output func(line string)
}

// wipeResult is what a wipe did.
type wipeResult struct {
	Method  string // contents, discard, zero, shred, format, signatures or command
	Entries int64
	Bytes   int64
}
