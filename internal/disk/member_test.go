package disk_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/disk"
)

const memberSize = int64(64<<20 + 4096)

// captured returns a device of memberSize bytes with the sectors of a file.
func captured(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, memberSize)
	for line := range strings.Lines(string(text)) {
		var at int
		var data string
		if strings.HasPrefix(line, "#") {
			continue
		}
		if _, err := fmt.Sscan(line, &at, &data); err != nil {
			t.Fatal(err)
		}
		raw, err := hex.DecodeString(data)
		if err != nil {
			t.Fatal(err)
		}
		copy(out[at:], raw)
	}
	return out
}

// TestReadMember: what the tools have left on a device is known, each by its
// first mark, its last one, and what they really write.
func TestReadMember(t *testing.T) {
	for file, want := range map[string]string{"luks1": "crypto_LUKS (at byte 0)", "luks2": "crypto_LUKS (at byte 0)", "lvm2": "LVM2_member (at byte 536)", "swap": "swap (at byte 4086)"} {
		data := captured(t, filepath.Join("testdata/member", file+".txt"))
		if got, err := disk.ReadMember(bytes.NewReader(data), memberSize); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", file, got, err, want)
		}
		if file == "luks2" {
			clear(data[:4096]) // as after a careless dd
			if got, _ := disk.ReadMember(bytes.NewReader(data), memberSize); got != "crypto_LUKS (at byte 16384)" {
				t.Errorf("the second header alone: got %q", got)
			}
		}
	}
	for _, c := range []struct {
		kind, magic string
		at          int64
	}{
		{"LVM2_member", "LVM2 001", 1536 + 24},
		{"linux_raid_member", "\xfc\x4e\x2b\xa9", 0},
		{"linux_raid_member", "\xfc\x4e\x2b\xa9", 4096},
		{"linux_raid_member", "\xfc\x4e\x2b\xa9", memberSize - 8192},              // 1.0: at a multiple of 4 KiB, at least 8 KiB before the end
		{"linux_raid_member", "\xfc\x4e\x2b\xa9", 64<<20 - 64<<10},                // 0.90: in the last whole 64 KiB
		{"linux_raid_member", "\xa9\x2b\x4e\xfc", 64<<20 - 64<<10},                // of a machine with the other byte order
		{"swap", "SWAPSPACE2", 64<<10 - 10},                                       // pages of 64 KiB
		{"swap", "S1SUSPEND", 4096 - 10},                                          // a machine sleeps on it
		{"zfs_member", "\x11\x7a\x0c\xb1\x7a\xda\x10\x02", 128<<10 - 40},          // the first label's
		{"zfs_member", "\x02\x10\xda\x7a\xb1\x0c\x7a\x11", 64<<20 - 128<<10 - 40}, // the last one's, of another byte order
		{"bcache", "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", 0x1018},
		{"ceph_bluestore", "bluestore block device\n", 0},
		{"oracleasm", "ORCLDISK", 32},
		{"stratis", "!Stra0tis\x86\xff\x02^Arh", 516},
		{"VMFS_volume_member", "\x0d\xd0\x01\xc0", 1 << 20},
		{"BitLocker", "-FVE-FS-", 3},
		{"isw_raid_member", "Intel Raid ISM Cfg Sig. 1.0", memberSize - 1024},
		{"ddf_raid_member", "\xde\x11\xde\x11", memberSize - 512},
	} {
		data := make([]byte, memberSize)
		copy(data[c.at:], c.magic)
		want := fmt.Sprintf("%s (at byte %d)", c.kind, c.at)
		if got, err := disk.ReadMember(bytes.NewReader(data), memberSize); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
		copy(data[c.at:], make([]byte, 64))
		copy(data[c.at+7:], c.magic)
		if got, err := disk.ReadMember(bytes.NewReader(data), memberSize); err != nil || got != "" {
			t.Errorf("%s at another place: got %q, %v", c.kind, got, err)
		}
	}
	for size, data := range map[int64][]byte{0: nil, 512: make([]byte, 512), 4096: device(4096, "XFSB", 0, 32), 0x10100: device(0x10100, "_BHRfS_M", 0x10040, 0x10020)} {
		if got, err := disk.ReadMember(bytes.NewReader(data), size); err != nil || got != "" {
			t.Errorf("%d bytes: got %q, %v; want none", size, got, err)
		}
	}
	if got, err := disk.ReadMember(sick{}, memberSize); !errors.Is(err, errSick) {
		t.Errorf("a sick device: got %q, %v", got, err)
	}
}
