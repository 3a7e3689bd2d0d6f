package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/inventory"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// localMachine is the machine that the agent runs on.
type localMachine struct{}

var sys = os.DirFS("/")

// ownName is a name in a discovery directory that is the agent's own: it may
// keep its journal there.
const ownName = ".berth"

// Scan implements machine. An entry that several classes match, as classes may
// share a directory, is the first one's.
func (localMachine) Scan(classes []config.Class) ([]entry, map[string]error, error) {
	mounts, err := disk.ReadMounts(sys)
	if err != nil {
		return nil, nil, err
	}
	var entries []entry
	errs := map[string]error{}
	owner := map[string]string{} // the class of an entry, by path
	for _, c := range classes {
		names, err := os.ReadDir(c.MountDir)
		if err != nil {
			errs[c.Name] = err
			continue
		}
		for _, n := range names {
			if n.Name() == ownName || !c.Matches(n.Name()) {
				continue
			}
			path := filepath.Join(c.MountDir, n.Name())
			if first, taken := owner[path]; taken {
				entries = append(entries, entry{Class: c.Name, Name: n.Name(), Kind: kindOther,
					Why: fmt.Sprintf("matches the namePattern of class %s, too, whose it is; change the namePattern of one of them", first)})
				continue
			}
			owner[path] = c.Name
			entries = append(entries, look(c, n, mounts))
		}
	}
	return entries, errs, nil
}

// look says what an entry is without waiting for a disk: what a mount hides is
// taken from the mount table, and links are followed only into /dev.
func look(c config.Class, n fs.DirEntry, mounts *disk.Mounts) entry {
	e := entry{Class: c.Name, Name: n.Name(), Kind: kindOther}
	path := filepath.Join(c.MountDir, e.Name)
	mode := n.Type()
	m, mounted := mounts.At(path)
	switch {
	case !utf8.ValidString(e.Name) || strings.ContainsFunc(e.Name, unicode.IsControl):
		e.Why = "has control characters or invalid UTF-8 in its name, which a PersistentVolume cannot carry; rename it"
	case mode.IsDir() && mounted:
		e.Kind, e.Mount = kindMount, m
	case mode.IsDir():
		e.Why = "is not a valid mount point: it is a plain directory; mount a filesystem on it, or remove it"
	case mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0:
		return lookDevice(e, path, mounts)
	case mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		switch {
		case err != nil:
			e.Why = "is a link that cannot be read: " + err.Error()
		case !strings.HasPrefix(filepath.Join(c.MountDir, target), "/dev/") && !strings.HasPrefix(filepath.Clean(target), "/dev/"):
			e.Why = fmt.Sprintf("is a link to %q; only links to block devices in /dev are followed", target)
		default:
			return lookDevice(e, path, mounts)
		}
	default:
		e.Why = "is " + kindName(mode) + "; only mount points and block devices become volumes; remove it"
	}
	return e
}

func lookDevice(e entry, path string, mounts *disk.Mounts) entry {
	major, minor, err := disk.DeviceOf(path)
	if err == nil {
		var b disk.Block
		if b, err = disk.ReadBlock(sys, major, minor); err == nil {
			e.Kind, e.Major, e.Minor, e.SizeBytes = kindDevice, major, minor, b.SizeBytes
			e.Device, e.ID, e.SameNumber = "/dev/"+b.Name, b.ID(), strings.Join(disk.SameNumber(sys, b), ", ")
			j := inventory.Classify(b, inventory.Use{Mounts: mounts.OfDevice(major, minor), Swapped: b.Swapped(sys)})
			if j.Verdict != inventory.Free {
				e.Refused = fmt.Sprintf("cannot be published, verdict %s: %s", j.Verdict, j.Evidence)
			}
			return e
		}
	}
	e.Why = "leads to no block device: " + err.Error()
	if errors.Is(err, fs.ErrNotExist) {
		e.Why = "is a broken link: the device is not there"
	}
	return e
}

func kindName(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a regular file"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a character device"
}

// Inspect implements machine.
func (localMachine) Inspect(c config.Class, e entry) (*volume.Disk, string, error) {
	switch e.Kind {
	case kindMount:
		return inspectMount(c, e)
	case kindDevice:
		d, err := inspectDevice(c, e)
		return d, "", err
	}
	return nil, e.Why, nil
}

func inspectMount(c config.Class, e entry) (*volume.Disk, string, error) {
	m := e.Mount
	d := &volume.Disk{Class: c.Name, Entry: e.Name, Path: filepath.Join(c.HostDir, e.Name), Keep: c.Shared || c.ReadOnly}
	switch {
	case c.VolumeMode == config.Block:
		return nil, "is a directory in a class of volume mode Block; put block devices there, or links to them", nil
	case disk.SharedType(m.FSType) && !c.Shared:
		d.Identity = disk.WeakID(m.FSType, c.Name, e.Name)
		d.Keep = true // also when its class said shared: true until now, and a claim had it
		d.Refused = fmt.Sprintf("is a %s mount, which other nodes may see too; give it a class of its own with shared: true", m.FSType)
		return d, "", nil // not opened: it may hang
	}
	f, err := disk.OpenMounted(m.Point, m)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	fd := int(f.Fd())
	if d.Identity, err = identityOfMount(fd, m, c.Name, e.Name); err != nil {
		return nil, "", err
	}
	if m.Major != 0 && m.FSType != "btrfs" { // which has a number of its own, and may lie on several
		d.Medium = disk.MediumID(sys, m.Major, m.Minor)
	}
	usage, err := disk.UsageOfFD(fd)
	if err != nil {
		return nil, "", err
	}
	d.CapacityBytes = publish.RoundCapacity(usage.TotalBytes)
	owner, err := disk.OwnerOfFD(fd)
	if err != nil {
		return nil, "", err
	}
	d.Root = &owner
	if err := readMark(fd, c, m, d); err != nil {
		return nil, "", err
	}
	if m.ReadOnly && !d.Keep {
		d.Refused = "is mounted read-only; mount it read-write, or give it a class with readOnly: true"
	}
	return d, "", nil
}

func identityOfMount(fd int, m disk.Mount, class, name string) (disk.ID, error) {
	id, err := disk.FilesystemIDOfFD(fd, m)
	if err == nil && id == "" {
		id = disk.WeakID(m.FSType, class, name)
	}
	return id, err
}

func inspectDevice(c config.Class, e entry) (*volume.Disk, error) {
	d := &volume.Disk{Class: c.Name, Entry: e.Name, Path: filepath.Join(c.HostDir, e.Name), Device: true, Keep: c.Shared || c.ReadOnly}
	b, err := disk.ReadBlock(sys, e.Major, e.Minor)
	if err != nil {
		return nil, err
	}
	d.Identity = identityOfDevice(b, c.Name, e.Name)
	if b.Partition {
		d.Medium = disk.MediumID(sys, e.Major, e.Minor)
	}
	d.CapacityBytes = publish.RoundCapacity(b.SizeBytes)
	d.Refused = e.Refused
	if d.Refused == "" {
		d.Refused = refusedMember(c, e, b)
	}
	return d, nil
}

func identityOfDevice(b disk.Block, class, name string) disk.ID {
	if id := b.ID(); id != "" {
		return id
	}
	return disk.WeakID("device", class, name)
}

// Empty implements machine.
func (localMachine) Empty(c config.Class, e entry, identity disk.ID) (bool, error) {
	f, err := disk.OpenMounted(e.Mount.Point, e.Mount)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := proveMount(c, e, identity)(int(f.Fd())); err != nil {
		return false, err
	}
	return disk.Empty(f)
}
