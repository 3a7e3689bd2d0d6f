package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Signature is what a device's own bytes say that it holds.
type Signature struct {
	Type string // ext4 (for ext2 to ext4), xfs, btrfs
	UUID string
}

// ErrNoSignature is returned for a device without a signature known here.
var ErrNoSignature = errors.New("no filesystem signature")

// ReadSignature looks for a filesystem's superblock. Offsets and magic numbers:
// Linux fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h, fs/btrfs/fs.h.
func ReadSignature(r io.ReaderAt) (Signature, error) {
	for _, s := range []struct {
		kind          string
		magic         string
		magicAt, uuid int64
	}{
		{"xfs", "XFSB", 0, 32},
		{"ext4", "\x53\xef", 1024 + 0x38, 1024 + 0x68},
		{"btrfs", "_BHRfS_M", 0x10000 + 0x40, 0x10000 + 0x20},
	} {
		magic, err := readAt(r, s.magicAt, len(s.magic))
		if err != nil {
			return Signature{}, err
		}
		if !bytes.Equal(magic, []byte(s.magic)) {
			continue
		}
		uuid, err := readAt(r, s.uuid, 16)
		if err != nil {
			return Signature{}, err
		}
		if len(uuid) == 16 {
			return Signature{Type: s.kind, UUID: formatUUID(uuid)}, nil
		}
	}
	return Signature{}, ErrNoSignature
}

// readAt returns fewer bytes than n when the device ends before.
func readAt(r io.ReaderAt, at int64, n int) ([]byte, error) {
	buf := make([]byte, n)
	got, err := r.ReadAt(buf, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading signature at %d: %w", at, err)
	}
	return buf[:got], nil
}

func formatUUID(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
