package wipe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-storage/berth/internal/host"
)

// BlockOptions are the choices of Block.
type BlockOptions struct {
	// Method is MethodDiscard, which becomes MethodZero where the device does
	// not guarantee zeroes; MethodZero, MethodShred, MethodFormat or
	// MethodSignatures. Empty is MethodDiscard.
	Method Method
	// Passes is how often MethodZero writes zeroes, and how often MethodShred
	// writes random bytes before its zeroes; 1 when zero. Others have no passes.
	Passes int
	// From is the offset in bytes to go on from: one that Checkpoint got in an
	// earlier call for the same device, size, Method and Passes. It counts the
	// bytes of all passes, up to Total, and with Full those read back after that.
	From int64
	// Checkpoint, if not nil, is called with the offset in bytes up to which
	// the work is done, after that is safe from a loss of power. An error ends
	// the wipe.
	Checkpoint func(off int64) error
	// Full reads all of the device back, and not samples only: see samples.
	Full bool
	// BytesPerSecond bounds what is written, discarded and read back, if it is
	// above 0: over a second, and up to bufferBytes or one second's more at once.
	BytesPerSecond int64
	// Progress, if not nil, is told how far the wipe has come.
	Progress *Progress

	step int64 // bytes between checkpoints, where a test wants fewer than the constants below
}

// Total is the offset at which the last pass over a device of size bytes ends.
func (o BlockOptions) Total(size int64) int64 {
	return size * int64(len(o.passes()))
}

// end is the last offset there is.
func (o BlockOptions) end(size int64) int64 {
	if o.Full && o.Method != MethodSignatures {
		return o.Total(size) + size
	}
	return o.Total(size)
}

// checkpoint calls Checkpoint, if there is one.
func (o BlockOptions) checkpoint(off int64) error {
	if o.Checkpoint == nil {
		return nil
	}
	if err := o.Checkpoint(off); err != nil {
		return fmt.Errorf("recording the checkpoint at %d: %w", off, err)
	}
	return nil
}

// stepOr is the distance of checkpoints in bytes, n but in tests.
func (o BlockOptions) stepOr(n int64) int64 {
	if o.step > 0 && n != wholeDevice {
		return o.step
	}
	return n
}

const (
	// discardStep and writeStep bound what is done again after a crash.
	discardStep = int64(1) << 30
	writeStep   = int64(256) << 20
	// bufferBytes is the size of one direct write or read: large enough for
	// any disk's full rate.
	bufferBytes = 4 << 20
)

// device is what Block asks of the machine; *host.Block says what each does.
type device interface {
	Path() string
	Size() int64
	Discard(off, length int64) error
	Trim(off, length int64) error
	Format() error
	WriteAt(buf []byte, off int64) (int, error)
	ReadAt(buf []byte, off int64) (int, error)
	Sync() error
	DropCache() error
	ForgetPartitions() error
}

var _ device = (*host.Block)(nil)

// Block erases the device, syncs it, and reads it back. A device that does not
// read as zeroes afterwards is ErrNotZero. MethodSignatures reads back what it
// has written only, and then looks for a filesystem, which is ErrSignature; both
// take the checkpoint back to 0. On an error the device is to be taken as not wiped; the call may be made again,
// from the last checkpoint or from the start. Result is valid on an error too.
//
// It does all that at the lowest IO priority. It looks whether ctx has ended
// before each request to the device, of which one takes a second at most on a
// device that works; but for MethodFormat's, which can take hours.
func Block(ctx context.Context, b *host.Block, o BlockOptions) (Result, error) {
	return block(ctx, b, o)
}

func block(ctx context.Context, b device, o BlockOptions) (result Result, err error) {
	start := time.Now()
	defer func() {
		result.Duration = time.Since(start)
		if err != nil {
			err = fmt.Errorf("wiping %q: %w", b.Path(), err)
		}
	}()
	if o.Method == "" {
		o.Method = MethodDiscard
	}
	result.Method = o.Method
	if err := o.check(b.Size()); err != nil {
		return result, err
	}
	err = host.AtIOPriority(host.IdlePriority, func() error {
		return host.Aligned(bufferBytes, func(buf []byte) error {
			return eraseAndVerify(ctx, newWork(b, o, buf, &result), o)
		})
	})
	// The checkpoints say that the bytes before them are erased. They are not.
	if errors.Is(err, ErrNotZero) || errors.Is(err, ErrSignature) {
		err = errors.Join(err, o.checkpoint(0))
	}
	return result, err
}

// check refuses options before anything is done.
func (o BlockOptions) check(size int64) error {
	switch {
	case o.passes() == nil:
		return fmt.Errorf("no method %q for a device", o.Method)
	case o.Passes < 0, o.Passes > 1 && o.Method != MethodZero && o.Method != MethodShred:
		return fmt.Errorf("no %d passes with method %q", o.Passes, o.Method)
	case o.BytesPerSecond < 0:
		return fmt.Errorf("no %d bytes a second", o.BytesPerSecond)
	case o.From < 0 || o.From > o.end(size) || size > 0 && o.From%size%bufferBytes != 0:
		return fmt.Errorf("no checkpoint at %d of %d bytes", o.From, o.Total(size))
	}
	return nil
}

func eraseAndVerify(ctx context.Context, w *work, o BlockOptions) error {
	// What others wrote through the page cache goes to the device first, lest
	// it goes there after the zeroes.
	if err := w.DropCache(); err != nil {
		return err
	}
	if err := eraseBlock(ctx, w, o); err != nil {
		return err
	}
	// And what was read before the zeroes is not to be read again.
	if err := w.DropCache(); err != nil {
		return err
	}
	// The next tenant must not find the last one's partitions.
	if err := w.ForgetPartitions(); err != nil {
		return err
	}
	return verify(ctx, w, o)
}

// eraseBlock goes over the device in steps, pass after pass. A step is durable
// before it is reported and before the next one, so that each pass reaches the
// medium and none is made up for by a later one in the device's cache.
func eraseBlock(ctx context.Context, w *work, o BlockOptions) error {
	size, passes, total := w.Size(), o.passes(), o.Total(w.Size())
	w.progress.begin(PhaseErase, min(o.From, total), total)
	for off := o.From; off < total; {
		pass, at := &passes[off/size], off%size
		n := min(o.stepOr(pass.step), size-at)
		err := pass.write(ctx, w, span{at, n})
		switch {
		case errors.Is(err, host.ErrNoDiscard):
			if o.Method == MethodDiscard {
				w.result.Method = MethodZero // from here to the end
			}
			*pass = zeroPass
			w.progress.at(off)
			continue
		case errors.Is(err, errNoTrim):
			n = size - at // the rest of the pass
		case err != nil:
			return err
		}
		if err := w.Sync(); err != nil {
			return err
		}
		off += n
		w.progress.at(off)
		if o.Method != MethodSignatures {
			w.result.Bytes += n
		}
		if err := o.checkpoint(off); err != nil {
			return err
		}
	}
	if o.Method == MethodSignatures {
		if err := zeroPlaces(ctx, w); err != nil {
			return err
		}
	}
	// Once more even if nothing was left to do: a checkpoint may be all that
	// an earlier call came to.
	return w.Sync()
}
