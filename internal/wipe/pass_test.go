package wipe

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPasses: how often the device is written, with what, and that each pass
// is on the medium before the next one.
func TestPasses(t *testing.T) {
	const writesAPass = (testSize + bufferBytes - 1) / bufferBytes
	for name, test := range map[string]struct {
		method         Method
		passes         int
		random, zeroes int // passes
	}{
		"zero":              {MethodZero, 0, 0, 1},
		"zero three times":  {MethodZero, 3, 0, 3},
		"shred":             {MethodShred, 0, 1, 1},
		"shred three times": {MethodShred, 3, 3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			device := newDevice(testSize)
			all := int64(test.random+test.zeroes) * testSize
			var checkpoints []int64
			o := BlockOptions{Method: test.method, Passes: test.passes, step: testStep, Checkpoint: func(off int64) error {
				checkpoints = append(checkpoints, off)
				if pass := int(off / testSize); off%testSize == 0 && pass <= test.random {
					onMedium(t, device.durable, pass)
				}
				return nil
			}}
			result, err := block(t.Context(), device, o)
			if err != nil || result.Method != test.method || result.Bytes != all || o.Total(testSize) != all || result.Verified != testSize {
				t.Errorf("%+v, %v; want %d bytes", result, err, all)
			}
			if device.written != all || device.random != test.random*writesAPass || device.unsynced != 0 {
				t.Errorf("%d bytes, %d writes of random bytes, %d over what was not synced; want %d, %d, 0",
					device.written, device.random, device.unsynced, all, test.random*writesAPass)
			}
			if last := checkpoints[len(checkpoints)-1]; last != all {
				t.Errorf("the last checkpoint is %d, want %d", last, all)
			}
			device.zeroed(t)
		})
	}
}

// onMedium fails the test unless the device has random bytes all over.
func onMedium(t *testing.T, durable []byte, pass int) {
	t.Helper()
	for off := 0; off < len(durable); off += 512 {
		sector := durable[off : off+512]
		if bytes.Count(sector, []byte{0}) > 64 || bytes.Count(sector, []byte{tenant}) > 64 {
			t.Fatalf("the sector at %d is not random after pass %d", off, pass)
		}
	}
	// A generator that starts again would write the same at two places.
	if bytes.Equal(durable[:512], durable[bufferBytes:bufferBytes+512]) {
		t.Errorf("pass %d repeats itself", pass)
	}
}

// crashSize is small, since a crash test writes it a hundred times, and fills
// no buffer at its end.
const crashSize = bufferBytes + 512

// TestPassesCrash cuts the power before and after each call of a wipe with
// passes. What goes on from the last checkpoint writes all that is left, and
// what came before is on the medium.
func TestPassesCrash(t *testing.T) {
	for _, method := range []Method{MethodShred, MethodZero} {
		for _, after := range []bool{false, true} {
			for at := 1; ; at++ {
				device := newDevice(crashSize)
				device.fault = fault{at: at, after: after}
				var reached int64
				o := BlockOptions{Method: method, Passes: 2, step: bufferBytes, Checkpoint: func(off int64) error { reached = off; return nil }}
				_, err := block(t.Context(), device, o)
				if !device.dead {
					if err != nil {
						t.Fatal(err)
					}
					break
				}
				if !errors.Is(err, errDead) {
					t.Fatalf("killed at call %d (%s): %v", at, device.seen[at-1], err)
				}
				again := device.restart()
				if method == MethodZero && bytes.IndexByte(again.durable[:min(reached, crashSize)], tenant) >= 0 {
					t.Fatalf("the tenant's bytes are below the checkpoint %d", reached)
				}
				o.From, o.Checkpoint = reached, nil
				if _, err := block(t.Context(), again, o); err != nil || again.written != o.Total(crashSize)-reached {
					t.Fatalf("%s from %d after call %d (%s): %d bytes written, %v", method, reached, at, device.seen[at-1], again.written, err)
				}
				again.zeroed(t)
			}
		}
	}
}

func TestPassesFaults(t *testing.T) {
	for _, method := range []Method{MethodShred, MethodZero, MethodSignatures} {
		for _, name := range []string{"DropCache", "WriteAt", "ReadAt", "Sync", "ForgetPartitions"} {
			device := newDevice(testSize)
			device.fault = fault{name: name, err: unix.EIO}
			if _, err := block(t.Context(), device, BlockOptions{Method: method, Passes: 1}); !errors.Is(err, unix.EIO) {
				t.Errorf("%s: %s fails: %v, want EIO", method, name, err)
			}
		}
	}
}
