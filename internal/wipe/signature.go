package wipe

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/berth-storage/berth/internal/disk"
)

// placeBytes is how much of a device's start and end MethodSignatures
// overwrites. All that the kernel, libblkid or a filesystem's own tools go by
// is in there, but for farPlaces. At the start: MBR and GPT, the superblocks of
// ext2 to ext4, XFS, btrfs, F2FS, NTFS and the CD and DVD filesystems (to 1
// MiB), LVM's label and metadata (1 MiB), swap, bcache, md 1.1 and 1.2, ZFS
// labels 0 and 1 (512 KiB), and, the longest, a LUKS2 header with its copy and
// keys (16 MiB). At the end: the backup GPT (34 sectors), md 0.90 and 1.0 and
// the firmware RAIDs (128 KiB), ZFS labels 2 and 3 (512 KiB below the last
// multiple of 256 KiB), LVM's second metadata area (1 MiB).
const placeBytes = int64(16) << 20

// farPlaces are the mirrors of the btrfs superblock: BTRFS_SUPER_MIRROR_SHIFT
// in Linux fs/btrfs/disk-io.h, btrfs_sb_offset. They are larger than a
// superblock, to be whole sectors of any device.
var farPlaces = []span{{64 << 20, 64 << 10}, {256 << 30, 64 << 10}}

// places lists what MethodSignatures overwrites, in ascending order and without
// overlaps.
func places(size int64) []span {
	if size <= 2*placeBytes {
		return []span{{0, size}}
	}
	spans := []span{{0, placeBytes}}
	for _, s := range farPlaces {
		if end := size - placeBytes; s.off < end {
			spans = append(spans, span{s.off, min(s.length, end-s.off)})
		}
	}
	return append(spans, span{size - placeBytes, placeBytes})
}

func zeroPlaces(ctx context.Context, w *work) error {
	for _, s := range places(w.Size()) {
		if err := zero(ctx, w, s); err != nil {
			return err
		}
		w.result.Bytes += s.length
	}
	return nil
}

// verifySignatures reads back what was overwritten, and looks at the device as
// whoever wants to know what it holds.
func verifySignatures(ctx context.Context, w *work) error {
	spans := places(w.Size())
	w.progress.begin(PhaseVerify, 0, sum(spans))
	if err := verifyBlock(ctx, w, spans, placeBytes, func(int64) error { return nil }); err != nil {
		return err
	}
	switch found, err := disk.ReadSignature(sectors{w.device, w.buf}); {
	case errors.Is(err, disk.ErrNoSignature):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("%w: %s %s", ErrSignature, found.Type, found.UUID)
	}
}

// sectors reads any bytes of a device that reads whole sectors only.
type sectors struct {
	b   device
	buf []byte
}

// sectorBytes is a multiple of every device's logical sector.
const sectorBytes = int64(64) << 10

// ReadAt implements io.ReaderAt for the few bytes of a signature.
func (s sectors) ReadAt(p []byte, off int64) (int, error) {
	start := off - off%sectorBytes
	length := min(off+int64(len(p))-start, int64(len(s.buf)))
	length = min((length+sectorBytes-1)/sectorBytes*sectorBytes, s.b.Size()-start)
	if length <= off-start {
		return 0, io.EOF
	}
	got := s.buf[:length]
	if _, err := s.b.ReadAt(got, start); err != nil {
		return 0, err
	}
	n := copy(p, got[off-start:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
