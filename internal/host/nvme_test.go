package host

import (
	"encoding/binary"
	"errors"
	"testing"
	"unsafe"
)

// TestMayFormat: a controller that does not say that it formats one namespace
// alone is not asked to.
func TestMayFormat(t *testing.T) {
	if n := unsafe.Sizeof(nvmeCommand{}); n != 72 {
		t.Fatalf("struct nvme_passthru_cmd has 72 bytes, not %d", n)
	}
	for name, test := range map[string]struct {
		oacs   uint16
		fna    byte
		active []uint32
		may    bool
	}{
		"one namespace":                      {0x2, 0, []uint32{1}, true},
		"several, each for itself":           {0xa, 0x4, []uint32{1, 2}, true},
		"no such command":                    {0xd, 0, []uint32{1}, false},
		"formats all":                        {0x2, 0x1, []uint32{1, 2}, false},
		"erases all":                         {0x2, 0x2, []uint32{1, 2}, false},
		"formats all, of which there is one": {0x2, 0x3, []uint32{1}, true},
		"formats all, some may be hidden":    {0xa, 0x1, []uint32{1}, false},
	} {
		controller, active := make([]byte, identifyBytes), make([]byte, identifyBytes)
		binary.LittleEndian.PutUint16(controller[256:], test.oacs)
		controller[524] = test.fna
		for i, id := range test.active {
			binary.LittleEndian.PutUint32(active[4*i:], id)
		}
		if err := mayFormat(controller, active); (err == nil) != test.may || err != nil && !errors.Is(err, ErrNoFormat) {
			t.Errorf("%s: %v, want it allowed: %v", name, err, test.may)
		}
	}
}

// TestFormatAs: the namespace keeps its block size, metadata and protection.
func TestFormatAs(t *testing.T) {
	for _, test := range []struct {
		flbas, dps byte
		want       uint32
	}{
		{0, 0, 0x200},
		{0x04, 0, 0x204},
		{0x13, 0x09, 0x200 | 1<<8 | 1<<5 | 1<<4 | 3},
		{0x61, 0x03, 3<<12 | 0x200 | 3<<5 | 1},
	} {
		namespace := make([]byte, identifyBytes)
		namespace[26], namespace[29] = test.flbas, test.dps
		if got := formatAs(namespace); got != test.want {
			t.Errorf("FLBAS %#x and DPS %#x give %#x, want %#x", test.flbas, test.dps, got, test.want)
		}
	}
}
