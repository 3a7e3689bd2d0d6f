package wipe

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
)

// TestFormat: the device's own command first, and as what it leaves is not
// known, the zeroes then; after a loss of power from the last step, and nothing
// at all where the device cannot.
func TestFormat(t *testing.T) {
	const size, step = 2*bufferBytes + 512, bufferBytes
	for _, noDiscard := range []bool{false, true} {
		for at := 1; ; at++ {
			device := newDevice(size)
			device.noDiscard = noDiscard
			device.fault = fault{at: at, after: at%2 == 0}
			var reached int64
			o := BlockOptions{Method: MethodFormat, step: step, Checkpoint: func(off int64) error { reached = off; return nil }}
			r, err := block(t.Context(), device, o)
			if !device.dead {
				if err != nil || r.Method != MethodFormat || r.Verified != size || o.Total(size) != 2*size {
					t.Fatalf("%+v, %v", r, err)
				}
				device.zeroed(t)
				break
			}
			again := device.restart()
			if _, err := block(t.Context(), again, BlockOptions{Method: MethodFormat, step: step, From: reached}); err != nil {
				t.Fatalf("from %d after call %d (%s): %v", reached, at, device.seen[at-1], err)
			}
			again.zeroed(t)
		}
	}
	device := newDevice(size)
	device.fault = fault{name: "Format", err: host.ErrNoFormat}
	if r, err := block(t.Context(), device, BlockOptions{Method: MethodFormat}); !errors.Is(err, host.ErrNoFormat) || device.written != 0 {
		t.Errorf("%+v, %v, %d bytes erased", r, err, device.written)
	}
	device.fault = fault{name: "Format", err: unix.EIO}
	if _, err := block(t.Context(), device, BlockOptions{Method: MethodFormat}); !errors.Is(err, unix.EIO) || device.written != 0 {
		t.Errorf("%v, %d bytes erased", err, device.written)
	}
}
