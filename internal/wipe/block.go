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
	// not guarantee zeroes; or MethodZero. Empty is MethodDiscard.
	Method Method
	// From is the offset in bytes to go on from: one that Checkpoint got in an
	// earlier call for the same device and Method.
	From int64
	// Checkpoint, if not nil, is called with the offset in bytes up to which
	// the device is erased, after that is safe from a loss of power. An error
	// ends the wipe.
	Checkpoint func(off int64) error
	// Full reads all of the device back, and not samples only: see samples.
	Full bool

	step int64 // bytes between checkpoints, where a test wants fewer than the constants below
}

const (
	// discardStep and zeroStep bound how long a cancellation waits, and what
	// is done again after a crash.
	discardStep = int64(1) << 30
	zeroStep    = int64(256) << 20
	// bufferBytes is the size of one direct write or read: large enough for
	// any disk's full rate.
	bufferBytes = 4 << 20
)

// device is what Block asks of the machine; *host.Block says what each does.
type device interface {
	Path() string
	Size() int64
	Discard(off, length int64) error
	WriteAt(buf []byte, off int64) (int, error)
	ReadAt(buf []byte, off int64) (int, error)
	Sync() error
	DropCache() error
	ForgetPartitions() error
}

var _ device = (*host.Block)(nil)

// Block erases the device, syncs it, and reads it back. A device that does not
// read as zeroes afterwards is ErrNotZero. On an error the device is to be
// taken as not wiped; the call may be made again, from the last checkpoint or
// from the start. Result is valid on an error too.
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
	result.Method = o.Method
	if result.Method == "" {
		result.Method = MethodDiscard
	}
	if result.Method != MethodDiscard && result.Method != MethodZero {
		return result, fmt.Errorf("no method %q for a device", o.Method)
	}
	if o.From < 0 || o.From > b.Size() || o.From%bufferBytes != 0 && o.From != b.Size() {
		return result, fmt.Errorf("no checkpoint at %d of %d bytes", o.From, b.Size())
	}
	// What others wrote through the page cache goes to the device first, lest
	// it goes there after the zeroes.
	if err := b.DropCache(); err != nil {
		return result, err
	}
	err = host.Aligned(bufferBytes, func(buf []byte) error {
		if err := eraseBlock(ctx, b, o, buf, &result); err != nil {
			return err
		}
		// And what was read before the zeroes is not to be read again.
		if err := b.DropCache(); err != nil {
			return err
		}
		// The next tenant must not find the last one's partitions.
		if err := b.ForgetPartitions(); err != nil {
			return err
		}
		return verifyBlock(ctx, b, o.Full, buf, &result)
	})
	return result, err
}

// eraseBlock goes over the device in steps, each made durable before it is
// reported. The buffer has zeroes.
func eraseBlock(ctx context.Context, b device, o BlockOptions, buf []byte, result *Result) error {
	discardStep, zeroStep := discardStep, zeroStep
	if o.step > 0 {
		discardStep, zeroStep = o.step, o.step
	}
	for off := o.From; off < b.Size(); {
		var n int64
		var err error
		if result.Method == MethodDiscard {
			n = min(discardStep, b.Size()-off)
			err = discard(ctx, b, off, n)
			if errors.Is(err, host.ErrNoDiscard) {
				result.Method = MethodZero // from here to the end
				continue
			}
		} else {
			n = min(zeroStep, b.Size()-off)
			err = zero(ctx, b, off, n, buf)
		}
		if err != nil {
			return err
		}
		if err := b.Sync(); err != nil {
			return err
		}
		off += n
		result.Bytes += n
		if o.Checkpoint != nil {
			if err := o.Checkpoint(off); err != nil {
				return fmt.Errorf("recording the checkpoint at %d: %w", off, err)
			}
		}
	}
	// Once more even if nothing was left to do: a checkpoint may be all that
	// an earlier call came to.
	return b.Sync()
}

func discard(ctx context.Context, b device, off, length int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return b.Discard(off, length)
}

func zero(ctx context.Context, b device, off, length int64, buf []byte) error {
	for done := int64(0); done < length; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := b.WriteAt(buf[:min(int64(len(buf)), length-done)], off+done)
		if err != nil {
			return err
		}
		done += int64(n)
	}
	return nil
}
