package host

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What of btrfs' tree of roots tells the subvolumes that are removed and not gone:
// include/uapi/linux/btrfs_tree.h.
const (
	btrfsTreeSearch = 0xd0009411 // BTRFS_IOC_TREE_SEARCH
	btrfsSync       = 0x9408     // BTRFS_IOC_SYNC

	btrfsRootTree   = 1                  // BTRFS_ROOT_TREE_OBJECTID
	btrfsOrphans    = math.MaxUint64 - 4 // BTRFS_ORPHAN_OBJECTID, -5
	btrfsOrphanItem = 48                 // BTRFS_ORPHAN_ITEM_KEY; its offset is the subvolume
)

// RemovedSubvolumes are the subvolumes of the whole filesystem that are removed and
// whose space the kernel has yet to free, whoever removed them. What was removed
// before the call and is not among them has freed its space.
func (f *Folder) RemovedSubvolumes() (all []Subvolume, err error) {
	err = f.With(".", func(fd int) error {
		// What is done with but for the transaction's commit is not among them, either.
		// Other than syncfs(2), this also has the kernel begin with the rest.
		if err := btrfsCall(fd, btrfsSync, nil); err != nil {
			return err
		}
		for least := uint64(0); ; {
			found, err := removedFrom(fd, least)
			if err != nil || len(found) == 0 {
				return err
			}
			all = append(all, found...)
			least = uint64(found[len(found)-1]) + 1
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listing the removed subvolumes of %q: %w", f.path, err)
	}
	return all, nil
}

// removedFrom returns the first of them whose number is least or more.
func removedFrom(fd int, least uint64) (all []Subvolume, err error) {
	const header = 32 // transaction, object, offset: 8 bytes each; type, length: 4 each
	args := struct {
		tree                           uint64
		minObject, maxObject           uint64
		minOffset, maxOffset           uint64
		minTransaction, maxTransaction uint64
		minType, maxType, items, _     uint32
		_                              [4]uint64
		found                          [3992]byte
	}{
		tree: btrfsRootTree, minObject: btrfsOrphans, maxObject: btrfsOrphans, minOffset: least, maxOffset: math.MaxUint64,
		maxTransaction: math.MaxUint64, minType: btrfsOrphanItem, maxType: btrfsOrphanItem, items: math.MaxUint32,
	}
	if err := btrfsCall(fd, btrfsTreeSearch, unsafe.Pointer(&args)); err != nil {
		return nil, err
	}
	rest := args.found[:]
	for range args.items {
		if len(rest) < header {
			return nil, unix.EBADMSG
		}
		all = append(all, Subvolume(binary.NativeEndian.Uint64(rest[16:])))
		length := binary.NativeEndian.Uint32(rest[28:])
		if uint64(length) > uint64(len(rest)-header) {
			return nil, unix.EBADMSG
		}
		rest = rest[header+length:]
	}
	return all, nil
}
