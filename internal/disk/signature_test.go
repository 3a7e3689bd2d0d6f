package disk_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/berth-storage/berth/internal/disk"
)

const uuidText = "00010203-0405-0607-0809-0a0b0c0d0e0f"

// device is a device of size bytes with the magic number and a UUID where a
// filesystem's superblock has them.
func device(size int, magic string, magicAt, uuidAt int) []byte {
	out := make([]byte, size)
	copy(out[magicAt:], magic)
	for i := range 16 {
		out[uuidAt+i] = byte(i)
	}
	return out
}

func TestReadSignature(t *testing.T) {
	ext4 := device(4096, "\x53\xef", 0x438, 0x468)
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"ext4", ext4, "ext4"},
		{"xfs", device(4096, "XFSB", 0, 32), "xfs"},
		{"btrfs", device(0x10100, "_BHRfS_M", 0x10040, 0x10020), "btrfs"},
		{"zeroes", make([]byte, 0x20000), ""},
		{"empty", nil, ""},
		{"ends within the magic number", ext4[:0x439], ""},
		{"ends within the UUID", ext4[:0x470], ""},
		{"magic number at another place", device(4096, "XFSB", 512, 32), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := disk.ReadSignature(bytes.NewReader(c.data))
			if c.want == "" {
				if !errors.Is(err, disk.ErrNoSignature) {
					t.Errorf("got %+v, %v; want ErrNoSignature", got, err)
				}
				return
			}
			if err != nil || got.Type != c.want || got.UUID != uuidText {
				t.Errorf("got %+v, %v; want %s %s", got, err, c.want, uuidText)
			}
		})
	}
}

type sick struct{}

var errSick = errors.New("input/output error")

func (sick) ReadAt([]byte, int64) (int, error) { return 0, errSick }

// A device that cannot be read is not one without a signature.
func TestReadSignatureOfSickDevice(t *testing.T) {
	var r io.ReaderAt = sick{}
	if got, err := disk.ReadSignature(r); !errors.Is(err, errSick) || errors.Is(err, disk.ErrNoSignature) {
		t.Errorf("got %+v, %v; want the device's error", got, err)
	}
}
