package wipe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
)

// slowDevice takes its time to discard, and says how long its longest request
// took. It has no bytes.
type slowDevice struct {
	*fakeDevice
	size      int64
	perSecond int64
	longest   time.Duration
	discards  int
	moved     int64 // bytes discarded and read
	ended     func()
	endAt     int // the number of the discard in which ended is called
}

func (s *slowDevice) Size() int64 { return s.size }

func (s *slowDevice) take(bytes int64) {
	took := time.Duration(float64(bytes) / float64(s.perSecond) * float64(time.Second))
	s.longest = max(s.longest, took)
	s.moved += bytes
	time.Sleep(took)
}

func (s *slowDevice) Discard(_, length int64) error {
	if s.discards++; s.discards == s.endAt {
		s.ended()
	}
	s.take(length)
	return nil
}

func (s *slowDevice) ReadAt(buf []byte, _ int64) (int, error) {
	s.take(int64(len(buf)))
	clear(buf)
	return len(buf), nil
}

// TestDiscardIsCancellable: no request takes a second, however slow the device,
// so that a wipe ends that soon after its cancellation; and a fast device is not
// slowed down by many requests.
func TestDiscardIsCancellable(t *testing.T) {
	for _, test := range []struct {
		perSecond int64
		most      int // discards
	}{{40 << 20, 3000}, {200 << 20, 3000}, {10 << 30, 60}, {1 << 40, 32}} {
		t.Run(fmt.Sprint(test.perSecond>>20, " MiB a second"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				device := &slowDevice{fakeDevice: newDevice(0), size: 20 << 30, perSecond: test.perSecond}
				if _, err := block(t.Context(), device, BlockOptions{}); err != nil {
					t.Fatal(err)
				}
				if device.longest > time.Second || device.discards > test.most {
					t.Errorf("%d requests, of which one took %v", device.discards, device.longest)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var at time.Time
				device.endAt, device.discards, device.ended = 5, 0, func() { at = time.Now(); cancel() }
				if _, err := block(ctx, device, BlockOptions{}); !errors.Is(err, context.Canceled) {
					t.Errorf("cancelled: %v", err)
				}
				if took := time.Since(at); took > time.Second || device.discards != 5 {
					t.Errorf("it ended after %v and %d requests, want within a second of the fifth", took, device.discards)
				}
			})
		})
	}
}

// TestBytesPerSecond: writing, discarding and reading back keep to the rate, and
// a wipe that waits for its turn ends when it is cancelled.
func TestBytesPerSecond(t *testing.T) {
	const perSecond = 50 << 20
	synctest.Test(t, func(t *testing.T) {
		device := &slowDevice{fakeDevice: newDevice(0), size: 1 << 30, perSecond: 1 << 40}
		began := time.Now()
		if _, err := block(t.Context(), device, BlockOptions{BytesPerSecond: perSecond}); err != nil {
			t.Fatal(err)
		}
		want := time.Duration(device.moved-bufferBytes) * time.Second / perSecond
		if took := time.Since(began); device.moved != 2<<30 || took < want-time.Second || took > want+time.Second {
			t.Errorf("%d bytes in %v, want it in %v", device.moved, took, want)
		}

		written := newDevice(testSize)
		began = time.Now()
		if _, err := block(t.Context(), written, BlockOptions{Method: MethodZero, BytesPerSecond: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 35*time.Second || took > 40*time.Second { // 20 MiB written and 20 read, 4 at once
			t.Errorf("two times %d bytes at 1 MiB a second took %v", testSize, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began = time.Now()
		_, err := block(ctx, newDevice(testSize), BlockOptions{Method: MethodZero, BytesPerSecond: 1 << 20})
		if took := time.Since(began); err == nil || took > 10*time.Second {
			t.Errorf("cancelled: %v after %v", err, took)
		}
	})
	if _, err := block(t.Context(), newDevice(testSize), BlockOptions{BytesPerSecond: -1}); err == nil {
		t.Error("a negative rate is obeyed")
	}
}

// TestProgress: at each request the stand is right, with a rate and a time that
// is left, also after an earlier run and where the device refuses to discard.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Progress
		if s := p.Now(); s.Phase != "" || s.Rate(time.Now()) != 0 || s.Left(time.Now()) != 0 {
			t.Errorf("before the begin: %+v", s)
		}
		device := newDevice(testSize)
		device.noDiscard = true
		clear(device.volatile[:testStep])
		var stands []Stand
		o := BlockOptions{step: testStep, From: testStep, Progress: &p, Checkpoint: func(int64) error {
			time.Sleep(2 * time.Second)
			stands = append(stands, p.Now())
			return nil
		}}
		if _, err := block(t.Context(), device, o); err != nil {
			t.Fatal(err)
		}
		if len(stands) != 2 || stands[0].Phase != PhaseErase || stands[0].Done != 2*testStep || stands[1].Done != testSize ||
			stands[0].Total != testSize || stands[0].Resumed != testStep {
			t.Errorf("while erasing: %+v", stands)
		}
		s := stands[0]
		if rate, left := s.Rate(s.Since.Add(2*time.Second)), s.Left(s.Since.Add(2*time.Second)); rate != testStep/2 || left != time.Second {
			t.Errorf("%.0f bytes a second and %v left, want %d and 1s", rate, left, testStep/2)
		}
		if s := p.Now(); s.Phase != PhaseVerify || s.Done != testSize || s.Total != testSize {
			t.Errorf("at the end: %+v", s)
		}
		if left := (Stand{Phase: PhaseErase, Total: 1 << 62, Done: 1}).Left(time.Now()); left <= 0 {
			t.Errorf("on a very slow device %v are left", left)
		}
	})
	volume, _ := plant(t, 3)
	var p Progress
	o := mine()
	o.Progress = &p
	if _, err := contents(t.Context(), openFake(t, volume), o); err != nil {
		t.Fatal(err)
	}
	if s := p.Now(); s.Phase != PhaseErase || s.Entries != 8 || s.Total != 0 || s.Left(time.Now()) != 0 {
		t.Errorf("of a directory: %+v, want 8 entries", s)
	}
}

// TestFullGoesOn: reading all of a device back goes on where a power cut has
// ended it, and samples what was read before.
func TestFullGoesOn(t *testing.T) {
	for at := int64(1); at <= testSize/bufferBytes; at++ {
		device := newDevice(testSize)
		reads, last := int64(0), int64(0)
		broken := &reader{device, func(int64) error {
			if reads++; reads == at {
				return unix.EIO
			}
			return nil
		}}
		o := BlockOptions{step: bufferBytes, Full: true, Checkpoint: func(off int64) error { last = off; return nil }}
		if _, err := block(t.Context(), broken, o); !errors.Is(err, unix.EIO) || last != testSize+(at-1)*bufferBytes {
			t.Fatalf("read %d fails: %v, and the last checkpoint is %d", at, err, last)
		}
		before := device.written
		o.From = last
		o.Checkpoint = func(off int64) error {
			if last = off; off > 0 && off <= o.From {
				t.Errorf("from %d: a checkpoint at %d", o.From, off)
			}
			return nil
		}
		r, err := block(t.Context(), device, o)
		if err != nil || r.Verified != testSize || device.written != before {
			t.Errorf("from %d: %+v, %v", o.From, r, err)
		}
		if o.From > testSize { // another has written where it was read already
			device.volatile[5] = tenant
			if _, err := block(t.Context(), device, o); !errors.Is(err, ErrNotZero) || last != 0 {
				t.Errorf("from %d: %v, and the last checkpoint is %d", o.From, err, last)
			}
		}
	}
	if _, err := block(t.Context(), newDevice(testSize), BlockOptions{From: testSize + bufferBytes}); err == nil {
		t.Error("an offset of a full reading is taken for one of samples")
	}
}

// ioPriority is what the kernel has noted for the thread.
func ioPriority() host.IOPriority {
	const thread = 1 // IOPRIO_WHO_PROCESS
	p, _, _ := unix.Syscall(unix.SYS_IOPRIO_GET, thread, 0, 0)
	return host.IOPriority(p)
}

// prioTree notes the priority of each removal.
type prioTree struct {
	*host.Tree
	other, all atomic.Int64
}

func (p *prioTree) Unlink(d *host.Dir, name string) error {
	p.all.Add(1)
	if ioPriority() != host.LowPriority {
		p.other.Add(1)
	}
	return p.Tree.Unlink(d, name)
}

// TestIOPriority: all that a wipe does, by each of its workers, is done at the
// lowest priority.
func TestIOPriority(t *testing.T) {
	device, requests := newDevice(testSize), 0
	look := func(int64) error {
		if requests++; ioPriority() != host.IdlePriority {
			t.Errorf("request %d has the priority %#x", requests, ioPriority())
		}
		return nil
	}
	if _, err := block(t.Context(), &reader{device, look}, BlockOptions{step: testStep, Checkpoint: look}); err != nil || requests < 6 {
		t.Errorf("%d requests, %v", requests, err)
	}

	volume := filepath.Join(t.TempDir(), "volume")
	for n := range 50 {
		dir := filepath.Join(volume, strconv.Itoa(n))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for f := range 20 {
			if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(f)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	tree := &prioTree{Tree: openFake(t, volume).Tree}
	o := mine()
	o.Workers = 4
	if _, err := contents(t.Context(), tree, o); err != nil || tree.all.Load() != 1000 || tree.other.Load() != 0 {
		t.Errorf("%d of %d removals had another priority, %v", tree.other.Load(), tree.all.Load(), err)
	}
	if p := ioPriority(); p == host.IdlePriority || p == host.LowPriority {
		t.Errorf("afterwards it is %#x", p)
	}
}

// reader looks at each read first.
type reader struct {
	*fakeDevice
	before func(off int64) error
}

func (r *reader) ReadAt(buf []byte, off int64) (int, error) {
	if err := r.before(off); err != nil {
		return 0, err
	}
	return r.fakeDevice.ReadAt(buf, off)
}
