package disk

import (
	"bytes"
	"fmt"
	"io"
)

// A memberMark is where the tools that join, encrypt or swap on devices leave
// their mark on one.
type memberMark struct {
	kind  string // as blkid(8) calls it, where that knows it
	at    func(size int64) []int64
	magic []string // any of them
}

func start(offsets ...int64) func(int64) []int64 { return func(int64) []int64 { return offsets } }

// memberMarks are the marks known here. Sources: util-linux
// libblkid/src/superblocks, Linux Documentation/driver-api/md,
// include/uapi/linux/raid/md_p.h, OpenZFS include/sys/vdev_impl.h and zio.h.
var memberMarks = []memberMark{
	{"LVM2_member", start(24, 512+24, 1024+24, 1536+24), []string{"LVM2 001"}}, // the type in a label, of which "LABELONE" is the head
	{"linux_raid_member", mdPlaces, []string{"\xfc\x4e\x2b\xa9", "\xa9\x2b\x4e\xfc"}},
	{"crypto_LUKS", start(0), []string{"LUKS\xba\xbe"}},
	// LUKS2 keeps a second header, at one of these, from which it mends the first.
	{"crypto_LUKS", start(0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000), []string{"SKUL\xba\xbe"}},
	// At the end of the first page, whose size the machine chooses.
	{"swap", start(4<<10-10, 8<<10-10, 16<<10-10, 32<<10-10, 64<<10-10), []string{"SWAPSPACE2", "SWAP-SPACE", "S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "LINHIB0001"}},
	{"zfs_member", zfsPlaces, []string{"\x11\x7a\x0c\xb1\x7a\xda\x10\x02", "\x02\x10\xda\x7a\xb1\x0c\x7a\x11"}},
	{"bcache", start(0x1018), []string{"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"}},
	{"ceph_bluestore", start(0), []string{"bluestore block device"}},
	{"oracleasm", start(32), []string{"ORCLDISK"}},
	{"stratis", start(512+4, 9*512+4), []string{"!Stra0tis\x86\xff\x02^\x41rh"}},
	{"VMFS_volume_member", start(1 << 20), []string{"\x0d\xd0\x01\xc0"}},
	{"BitLocker", start(3), []string{"-FVE-FS-"}},
	{"isw_raid_member", fromEnd(1024), []string{"Intel Raid ISM Cfg Sig. "}},
	{"ddf_raid_member", fromEnd(512, 257*512), []string{"\xde\x11\xde\x11"}},
}

func fromEnd(before ...int64) func(int64) []int64 {
	return func(size int64) (out []int64) {
		for _, b := range before {
			out = append(out, size-b)
		}
		return out
	}
}

// mdPlaces: versions 1.1, 1.2, 1.0 and 0.90 of an md superblock.
func mdPlaces(size int64) []int64 {
	return []int64{0, 4096, (size/512 - 16) &^ 7 * 512, size&^(64<<10-1) - 64<<10}
}

// zfsPlaces: the mark at the end of the configuration in each of a vdev's four
// labels of 256 KiB, two at the start of the device and two at its end.
func zfsPlaces(size int64) []int64 {
	const label, mark = 256 << 10, 128<<10 - 40
	end := size &^ (label - 1)
	return []int64{mark, label + mark, end - 2*label + mark, end - label + mark}
}

// ReadMember says what a device of size bytes is part of, or holds, by its own
// bytes and whether or not something uses it now: an LVM volume group, an md
// array, an encrypted volume, a ZFS pool, swap space. It is "" where no such
// mark is known. Filesystems are none: see ReadSignature.
func ReadMember(r io.ReaderAt, size int64) (kind string, err error) {
	for _, m := range memberMarks {
		for _, at := range m.at(size) {
			if at < 0 {
				continue
			}
			got, err := readAt(r, at, len(m.magic[0]))
			if err != nil {
				return "", err
			}
			for _, magic := range m.magic {
				if bytes.HasPrefix(got, []byte(magic)) {
					return fmt.Sprintf("%s (at byte %d)", m.kind, at), nil
				}
			}
		}
	}
	return "", nil
}
