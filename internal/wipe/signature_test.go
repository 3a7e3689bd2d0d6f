package wipe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

const quickSize = 3*placeBytes + 512

// quick fails the test unless the ends of the device are zero.
func quick(t *testing.T, d *fakeDevice) {
	t.Helper()
	for _, s := range places(d.Size()) {
		if at := nonZero(d.durable[s.off:s.off+s.length], make([]byte, 64<<10)); at >= 0 {
			t.Errorf("byte at %d is not zero", s.off+int64(at))
		}
	}
}

// TestSignatures: the places are zeroed on a device that discards, on one that
// does not, and on one that fails to, and nothing else is written.
func TestSignatures(t *testing.T) {
	for name, test := range map[string]struct {
		noDiscard bool
		fault     fault
		middle    byte
	}{
		"discards":         {middle: 'd'},
		"does not discard": {noDiscard: true, middle: tenant},
		"fails to discard": {fault: fault{name: "Trim", err: unix.EIO}, middle: tenant},
	} {
		t.Run(name, func(t *testing.T) {
			device := newDevice(int(quickSize))
			device.noDiscard, device.fault = test.noDiscard, test.fault
			var reached int64
			o := BlockOptions{Method: MethodSignatures, step: testStep, Checkpoint: func(off int64) error { reached = off; return nil }}
			result, err := block(t.Context(), device, o)
			if err != nil || result.Method != MethodSignatures || result.Bytes != 2*placeBytes || device.written != 2*placeBytes || result.Verified != 2*placeBytes {
				t.Errorf("%+v, %v", result, err)
			}
			if reached != quickSize {
				t.Errorf("the last checkpoint is %d", reached)
			}
			quick(t, device)
			if got := device.durable[placeBytes]; got != test.middle {
				t.Errorf("between the places is %q", got)
			}
		})
	}
}

func TestSignaturesCrash(t *testing.T) {
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			device := newDevice(crashSize)
			device.fault = fault{at: at, after: after}
			var reached int64
			o := BlockOptions{Method: MethodSignatures, step: bufferBytes, Checkpoint: func(off int64) error { reached = off; return nil }}
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
			if _, err := block(t.Context(), again, BlockOptions{Method: MethodSignatures, From: reached}); err != nil {
				t.Fatalf("from %d after call %d (%s): %v", reached, at, device.seen[at-1], err)
			}
			quick(t, again)
		}
	}
}

// forgetful loses a superblock's worth of writes.
type forgetful struct {
	*fakeDevice
	from, to int64
}

func (f *forgetful) Sync() error {
	for i := f.from; i < f.to; i++ {
		f.volatile[i] = tenant
	}
	return f.fakeDevice.Sync()
}

// TestSignaturesVerifies: what is at a place is found, what lies between them
// is none of this method's business.
func TestSignaturesVerifies(t *testing.T) {
	for at, want := range map[int64]error{0: ErrNotZero, placeBytes - 1: ErrNotZero, placeBytes: nil, quickSize - placeBytes - 1: nil,
		quickSize - placeBytes: ErrNotZero, quickSize - 1: ErrNotZero} {
		_, err := block(t.Context(), &forgetful{newDevice(int(quickSize)), at, at + 1}, BlockOptions{Method: MethodSignatures})
		if !errors.Is(err, want) {
			t.Errorf("a byte at %d: %v, want %v", at, err, want)
		}
	}
}

// late is a device on which a filesystem appears after the readback.
type late struct {
	*fakeDevice
	reads int
}

func (l *late) ReadAt(buf []byte, off int64) (int, error) {
	if l.reads++; int64(l.reads) > 2*placeBytes/bufferBytes {
		copy(l.volatile, "XFSB")
	}
	return l.fakeDevice.ReadAt(buf, off)
}

func TestSignaturesLooks(t *testing.T) {
	if _, err := block(t.Context(), &late{fakeDevice: newDevice(int(quickSize))}, BlockOptions{Method: MethodSignatures}); !errors.Is(err, ErrSignature) {
		t.Errorf("error: %v, want ErrSignature", err)
	}
}

func TestSignaturesCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	device := newDevice(int(quickSize))
	o := BlockOptions{Method: MethodSignatures, step: testStep, Checkpoint: func(int64) error { cancel(); return nil }}
	if _, err := block(ctx, device, o); !errors.Is(err, context.Canceled) || device.written != 0 {
		t.Errorf("%v after %d bytes", err, device.written)
	}
}

// TestPlaces: in order, without overlaps, within the device and on its sectors,
// and all that is known to be somewhere is covered.
func TestPlaces(t *testing.T) {
	for _, size := range []int64{512, placeBytes, 2*placeBytes + 512, 64 << 20, 64<<20 + 4096, 80<<20 + 512, 100 << 20, 256<<30 + 4096, 300 << 30, 20 << 40} {
		spans := places(size)
		var end int64
		for _, s := range spans {
			if s.off < end || s.length <= 0 || s.off%512 != 0 || s.length%512 != 0 {
				t.Fatalf("of %d: %+v after %d", size, s, end)
			}
			end = s.off + s.length
		}
		if end != size {
			t.Errorf("of %d: to %d", size, end)
		}
		for name, at := range map[string]span{
			"GPT": {0, 34 * 4096}, "ext4": {1024, 1024}, "btrfs": {64 << 10, 4096}, "btrfs, first mirror": {64 << 20, 4096},
			"btrfs, second mirror": {256 << 30, 4096}, "LUKS2, second header": {4 << 20, 4 << 20}, "ZFS, second label": {256 << 10, 256 << 10},
			"ZFS, third label": {size&^(256<<10-1) - 512<<10, 512 << 10}, "md 0.90": {size&^(64<<10-1) - 64<<10, 4096},
			"md 1.0": {size&^4095 - 8<<10, 4096}, "backup GPT": {size - 33*512, 33 * 512},
		} {
			if at.off < 0 || at.off+at.length > size {
				continue
			}
			if !covered(spans, at) {
				t.Errorf("of %d: %s at %d is not in %v", size, name, at.off, spans)
			}
		}
	}
}

func covered(spans []span, want span) bool {
	for _, s := range spans {
		if want.off >= s.off && want.off < s.off+s.length {
			if rest := want.off + want.length - s.off - s.length; rest > 0 {
				return covered(spans, span{s.off + s.length, rest})
			}
			return true
		}
	}
	return false
}

// TestSectors: any bytes can be read of a device that reads whole sectors, also
// at its end, which is a shorter one.
func TestSectors(t *testing.T) {
	device := newDevice(int(sectorBytes) + 512)
	for i := range device.volatile {
		device.volatile[i] = byte(i / 7)
	}
	r := sectors{device, make([]byte, bufferBytes)}
	for _, s := range []span{{0, 4}, {1080, 2}, {sectorBytes - 2, 4}, {sectorBytes, 512}, {sectorBytes + 510, 2}} {
		got := make([]byte, s.length)
		if n, err := r.ReadAt(got, s.off); err != nil || int64(n) != s.length || !bytes.Equal(got, device.volatile[s.off:s.off+s.length]) {
			t.Errorf("%+v: %d bytes, %v", s, n, err)
		}
	}
	for off, want := range map[int64]int{sectorBytes + 510: 2, sectorBytes + 512: 0, 3 * sectorBytes: 0} {
		if n, err := r.ReadAt(make([]byte, 4), off); n != want || !errors.Is(err, io.EOF) {
			t.Errorf("at %d: %d bytes, %v; want %d and EOF", off, n, err, want)
		}
	}
}
