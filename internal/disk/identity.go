package disk

import (
	"fmt"
	"strings"
)

// ID is an identity: what proves a device or filesystem to be the same one
// tomorrow. It is "<kind>:<value>", for example "fs:6f1c…:/" for the root of a
// filesystem with that UUID, or "wwid:naa.5000…" for a whole disk.
//
// An ID that begins with "weak:" names the thing by the place where it was
// found, because nothing better is on the medium (tmpfs, network mounts, a
// device without serial number). It is never a /dev name.
type ID string

// Weak reports whether the identity rests on a name instead of the medium.
func (id ID) Weak() bool { return strings.HasPrefix(string(id), "weak:") }

// Expect returns an error unless the identity read now is this one.
func (id ID) Expect(now ID) error {
	switch now {
	case id:
		return nil
	case "":
		return fmt.Errorf("it has no identity of its own, and is not %s", id)
	}
	return fmt.Errorf("it is %s, not %s", now, id)
}

// FilesystemID is the identity of directory root of the filesystem with this
// UUID.
func FilesystemID(uuid, root string) ID {
	return ID("fs:" + uuid + ":" + root)
}

// WeakID is an identity by place: the entry's name in its class.
func WeakID(kind, class, entry string) ID {
	return ID("weak:" + kind + ":" + class + "/" + entry)
}

// ID returns the device's identity, "" when it has none of its own.
// The order is by what survives most: a partition's GUID, LVM's and md's own
// UUIDs, the disk's world wide name, its serial number with the model, and the
// file behind a loop device.
func (b Block) ID() ID {
	switch {
	case b.PartUUID != "":
		return ID("partuuid:" + strings.ToLower(b.PartUUID))
	case b.Partition:
		return "" // its disk's serial number would be the same for each partition
	case b.DMUUID != "":
		return ID("dm:" + b.DMUUID)
	case b.MDUUID != "":
		return ID("md:" + b.MDUUID)
	case b.WWID != "":
		return ID("wwid:" + b.WWID)
	case b.Serial != "":
		return ID(fmt.Sprintf("serial:%s:%s", b.Model, b.Serial))
	case b.LoopFile != "":
		return ID("loop:" + b.LoopFile)
	}
	return ""
}
