package wipe

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
)

// fakeDevice is a device with a volatile cache of its own, of which only what
// was synced survives when it dies, and with another's dirty page cache.
type fakeDevice struct {
	fault
	durable, volatile []byte
	dirty             []byte // another's page cache: written out by DropCache, or at the end of the test
	noDiscard         bool
	written           int64 // bytes erased
	random            int   // writes of other bytes than zeroes
	unsynced          int   // writes over bytes that were written and not synced yet
	pending           map[int64]bool
}

const tenant = 0xa5

func newDevice(size int) *fakeDevice {
	d := &fakeDevice{durable: bytes.Repeat([]byte{tenant}, size)}
	d.volatile = bytes.Clone(d.durable)
	return d
}

// restart is the device after a loss of power.
func (d *fakeDevice) restart() *fakeDevice {
	return &fakeDevice{durable: d.durable, volatile: bytes.Clone(d.durable), noDiscard: d.noDiscard}
}

func (d *fakeDevice) Path() string { return "/dev/fake" }
func (d *fakeDevice) Size() int64  { return int64(len(d.volatile)) }

func (d *fakeDevice) Discard(off, length int64) error {
	return call0(&d.fault, "Discard", func() error {
		if d.noDiscard {
			return host.ErrNoDiscard
		}
		clear(d.volatile[off : off+length])
		d.written += length
		return nil
	})
}

func (d *fakeDevice) Trim(off, length int64) error {
	return call0(&d.fault, "Trim", func() error {
		if d.noDiscard {
			return unix.EOPNOTSUPP
		}
		for i := off; i < off+length; i += 512 {
			d.volatile[i] = 'd' // a device may return anything
		}
		return nil
	})
}

func (d *fakeDevice) Format() error {
	return call0(&d.fault, "Format", func() error {
		for i := range d.volatile { // a device may return anything
			d.volatile[i] = 'f'
		}
		return nil
	})
}

func (d *fakeDevice) WriteAt(buf []byte, off int64) (int, error) {
	return call(&d.fault, "WriteAt", func() (int, error) {
		d.written += int64(len(buf))
		if nonZero(buf, make([]byte, len(buf))) >= 0 {
			d.random++
		}
		if d.pending == nil {
			d.pending = map[int64]bool{}
		}
		if d.pending[off] {
			d.unsynced++
		}
		d.pending[off] = true
		return copy(d.volatile[off:], buf), nil
	})
}

func (d *fakeDevice) ReadAt(buf []byte, off int64) (int, error) {
	return call(&d.fault, "ReadAt", func() (int, error) { return copy(buf, d.volatile[off:]), nil })
}

func (d *fakeDevice) Sync() error {
	return call0(&d.fault, "Sync", func() error { copy(d.durable, d.volatile); clear(d.pending); return nil })
}

func (d *fakeDevice) DropCache() error {
	return call0(&d.fault, "DropCache", func() error { copy(d.volatile, d.dirty); d.dirty = nil; return nil })
}

func (d *fakeDevice) ForgetPartitions() error {
	return call0(&d.fault, "ForgetPartitions", func() error { return nil })
}

// zeroed fails the test unless the device is zero and stays so.
func (d *fakeDevice) zeroed(t *testing.T) {
	t.Helper()
	copy(d.volatile, d.dirty)
	zeroes := make([]byte, len(d.volatile))
	if !bytes.Equal(d.volatile, zeroes) || !bytes.Equal(d.durable, zeroes) {
		t.Error("the device is not zero")
	}
}

const (
	testStep = 8 << 20
	testSize = 2*testStep + bufferBytes + 512 // an end that fills no step and no buffer
)

// TestBlockCrash cuts the power before and after each call, goes on from the
// last checkpoint, and wants the same end.
func TestBlockCrash(t *testing.T) {
	for _, noDiscard := range []bool{false, true} {
		for _, after := range []bool{false, true} {
			for at := 1; ; at++ {
				device := newDevice(testSize)
				device.noDiscard = noDiscard
				device.fault = fault{at: at, after: after}
				var reached int64
				o := BlockOptions{step: testStep, Checkpoint: func(off int64) error { reached = off; return nil }}
				_, err := block(t.Context(), device, o)
				if !device.dead {
					if err != nil {
						t.Fatal(err)
					}
					device.zeroed(t)
					break
				}
				if !errors.Is(err, errDead) {
					t.Fatalf("killed at call %d (%s): %v", at, device.seen[at-1], err)
				}
				again := device.restart()
				result, err := block(t.Context(), again, BlockOptions{step: testStep, From: reached})
				if err != nil {
					t.Fatalf("from %d after call %d (%s): %v", reached, at, device.seen[at-1], err)
				}
				if result.Bytes != testSize-reached || again.written != result.Bytes {
					t.Errorf("from %d: %d bytes erased, %d said", reached, again.written, result.Bytes)
				}
				again.zeroed(t)
			}
		}
	}
}

func TestBlockFaults(t *testing.T) {
	for _, name := range []string{"DropCache", "Discard", "WriteAt", "ReadAt", "Sync"} {
		device := newDevice(testSize)
		device.noDiscard = name == "WriteAt"
		device.fault = fault{name: name, err: unix.EIO}
		if _, err := block(t.Context(), device, BlockOptions{}); !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), "/dev/fake") {
			t.Errorf("%s fails: %v, want EIO and the device's path", name, err)
		}
	}
	errFull := errors.New("the journal is full")
	device := newDevice(testSize)
	o := BlockOptions{step: testStep, Checkpoint: func(int64) error { return errFull }}
	if _, err := block(t.Context(), device, o); !errors.Is(err, errFull) || device.written != testStep {
		t.Errorf("the checkpoint fails: %v after %d bytes", err, device.written)
	}
}

func TestBlockMethods(t *testing.T) {
	for name, test := range map[string]struct {
		ask       Method
		noDiscard bool
		want      Method
	}{
		"by default":              {"", false, MethodDiscard},
		"discard":                 {MethodDiscard, false, MethodDiscard},
		"discard without promise": {MethodDiscard, true, MethodZero},
		"zero":                    {MethodZero, false, MethodZero},
	} {
		t.Run(name, func(t *testing.T) {
			device := newDevice(testSize)
			device.noDiscard = test.noDiscard
			result, err := block(t.Context(), device, BlockOptions{Method: test.ask, step: testStep})
			if err != nil || result.Method != test.want || result.Bytes != testSize || result.Verified != testSize {
				t.Errorf("%+v, %v; want %s of %d bytes", result, err, test.want, testSize)
			}
			device.zeroed(t)
		})
	}
	for _, o := range []BlockOptions{{Method: MethodContents}, {From: -bufferBytes}, {From: 512}, {From: 2 * testSize},
		{Passes: 2}, {Method: MethodSignatures, Passes: 2}, {Method: MethodZero, Passes: -1},
		{Method: MethodZero, Passes: 2, From: testSize + 512}, {Method: MethodShred, Passes: 2, From: 4 * testSize}} {
		device := newDevice(testSize)
		if _, err := block(t.Context(), device, o); err == nil || device.calls != 0 {
			t.Errorf("%+v: %v after %d calls, want it refused", o, err, device.calls)
		}
	}
}

// TestBlockDirtyCache: what another has not written out yet does not come back
// over the zeroes.
func TestBlockDirtyCache(t *testing.T) {
	device := newDevice(testSize)
	device.dirty = bytes.Repeat([]byte{tenant}, testSize)
	if _, err := block(t.Context(), device, BlockOptions{Method: MethodZero}); err != nil {
		t.Error(err)
	}
	device.zeroed(t)
}

// TestBlockLateWriter: what another wrote through the page cache after the
// zeroes is found, and not left to be written out after the verification.
func TestBlockLateWriter(t *testing.T) {
	device := newDevice(testSize)
	o := BlockOptions{Checkpoint: func(int64) error { device.dirty = []byte{tenant}; return nil }}
	if _, err := block(t.Context(), device, o); !errors.Is(err, ErrNotZero) {
		t.Errorf("error: %v, want ErrNotZero", err)
	}
}

// lying does not erase one byte.
type lying struct {
	*fakeDevice
	at int64
}

func (l *lying) Sync() error {
	l.volatile[l.at] = tenant
	return l.fakeDevice.Sync()
}

func TestBlockVerifies(t *testing.T) {
	for _, at := range []int64{0, 511, bufferBytes, testSize - 1} {
		device := &lying{newDevice(testSize), at}
		last := int64(-1)
		_, err := block(t.Context(), device, BlockOptions{Checkpoint: func(off int64) error { last = off; return nil }})
		if last != 0 {
			t.Errorf("the last checkpoint is %d: what is not erased would not be erased again", last)
		}
		if !errors.Is(err, ErrNotZero) || !strings.Contains(err.Error(), "byte at "+strconv.FormatInt(at, 10)) {
			t.Errorf("error: %v, want ErrNotZero at %d", err, at)
		}
	}
}

func TestBlockEndsInTheMiddle(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	device := newDevice(testSize)
	o := BlockOptions{step: testStep, Checkpoint: func(int64) error { cancel(); return nil }}
	result, err := block(ctx, device, o)
	if !errors.Is(err, context.Canceled) || result.Bytes != testStep {
		t.Errorf("%v after %d bytes, want Canceled after %d", err, result.Bytes, testStep)
	}
}

func TestSamples(t *testing.T) {
	for _, size := range []int64{512, readAll, readAll + 512, 3*readAll - 512, 20 << 40, 1<<62 + 512} {
		var total, end int64
		for _, s := range samples(size, false) {
			if s.off < end || s.length <= 0 || s.off%512 != 0 {
				t.Fatalf("of %d: %+v after %d", size, s, end)
			}
			end, total = s.off+s.length, total+s.length
		}
		if end != size || total != min(size, readAll) {
			t.Errorf("of %d: %d bytes to %d, want %d to the end", size, total, end, min(size, readAll))
		}
	}
	spans := samples(20<<40, false)
	for i := 2; i < len(spans)-1; i++ {
		if gap, even := spans[i].off-spans[i-1].off, int64(20<<40/896); gap < even-2<<20 || gap > even+2<<20 {
			t.Errorf("samples %d and %d are %d apart, want about %d", i-1, i, gap, even)
		}
	}
	if got := samples(20<<40, true); len(got) != 1 || got[0] != (span{0, 20 << 40}) {
		t.Errorf("in full: %v", got)
	}
}
