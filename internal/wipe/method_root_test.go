//go:build root

package wipe_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/host/hosttest"
	"github.com/berth-storage/berth/internal/wipe"
)

func wipeLoop(t *testing.T, path string, o wipe.BlockOptions) (wipe.Result, error) {
	t.Helper()
	b, err := host.OpenBlock(path, anyDevice)
	must(t, err)
	defer b.Close()
	return wipe.Block(t.Context(), b, o)
}

func TestShredOnLoop(t *testing.T) {
	const size = 40*hosttest.MiB + 512
	path := dirtyLoop(t, size)
	var random bool
	o := wipe.BlockOptions{Method: wipe.MethodShred, Passes: 2}
	o.Checkpoint = func(off int64) error {
		if off == size {
			head := readHead(t, path)
			random = bytes.Count(head, []byte{0}) < 64 && !bytes.Contains(head, []byte("tenant"))
		}
		return nil
	}
	result, err := wipeLoop(t, path, o)
	must(t, err)
	if result.Method != wipe.MethodShred || result.Bytes != 3*size || result.Verified != size || !random {
		t.Errorf("%+v, random bytes after the first pass: %v", result, random)
	}
	zeroLoop(t, path)
}

// readHead is the device's first bytes, as the page cache has them.
func readHead(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	head := make([]byte, 4096)
	_, err = f.ReadAt(head, 0)
	must(t, err)
	return head
}

// TestSignaturesOnLoop makes what tenants make on a raw device. After the wipe
// no tool finds it any more, with and without what discarding did for it.
func TestSignaturesOnLoop(t *testing.T) {
	for name, command := range map[string][]string{
		"ext4":  {"mkfs.ext4", "-q", "-F", "-E", "nodiscard"},
		"xfs":   {"mkfs.xfs", "-q", "-f", "-K"},
		"btrfs": {"mkfs.btrfs", "-q", "-f", "-K"},
		"swap":  {"mkswap"},
		// One Linux partition at 1 MiB in an MBR, see the UEFI specification, 5.2.1.
		"partition table": {"sh", "-c", `dd if=/dev/zero of="$0" bs=4096 count=1 conv=notrunc status=none &&
			printf '\0\0\0\0\203\0\0\0\0\010\0\0\0\010\0\0' | dd of="$0" bs=1 seek=446 conv=notrunc status=none &&
			printf '\125\252' | dd of="$0" bs=1 seek=510 conv=notrunc status=none`},
	} {
		t.Run(name, func(t *testing.T) {
			path := dirtyLoop(t, hosttest.MinFS)
			run(t, command[0], append(command[1:len(command):len(command)], path)...)
			if run(t, "wipefs", "--noheadings", path) == "" {
				t.Fatal("nothing was made")
			}
			// From the end of the discards on: the zeroes have to do it alone.
			result, err := wipeLoop(t, path, wipe.BlockOptions{Method: wipe.MethodSignatures, From: hosttest.MinFS})
			must(t, err)
			if result.Method != wipe.MethodSignatures || result.Bytes >= hosttest.MinFS || result.Verified != result.Bytes {
				t.Errorf("%+v", result)
			}
			if found := run(t, "wipefs", "--noheadings", path); found != "" {
				t.Errorf("found after the wipe:\n%s", found)
			}
			f, err := os.Open(path)
			must(t, err)
			defer f.Close()
			mirror := make([]byte, 4096)
			_, err = f.ReadAt(mirror, 64*hosttest.MiB)
			must(t, err)
			if bytes.Contains(mirror, []byte("_BHRfS_M")) {
				t.Error("the mirror of the btrfs superblock is left")
			}
		})
	}
}

// TestSignaturesDiscards: what the device discards is gone too, though nothing
// rests on it.
func TestSignaturesDiscards(t *testing.T) {
	path := dirtyLoop(t, 128*hosttest.MiB)
	_, err := wipeLoop(t, path, wipe.BlockOptions{Method: wipe.MethodSignatures})
	must(t, err)
	data, err := os.ReadFile(path)
	must(t, err)
	if bytes.Contains(data, []byte("tenant")) {
		t.Skip("loop devices here do not discard")
	}
}
