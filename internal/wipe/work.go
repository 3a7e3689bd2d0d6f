package wipe

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// work is one call of Block: the device, and what goes with it from step to
// step. It belongs to one goroutine.
type work struct {
	device
	buf      []byte        // for direct writes and reads
	pace     *rate.Limiter // nil for none
	progress *Progress
	result   *Result
	piece    int64 // how much to discard at a time
}

const (
	// discardFirst is how much is discarded in the first call, which says how
	// fast the device is. One that writes zeroes at 40 MB/s instead of
	// deallocating takes 0.8 s for it.
	discardFirst = int64(32) << 20
	// discardTime is how long the following calls are to take. Nothing can stop
	// one, so this is what a cancellation waits, and a neighbour's request.
	discardTime = 250 * time.Millisecond
)

func newWork(b device, o BlockOptions, buf []byte, result *Result) *work {
	w := &work{device: b, buf: buf, progress: o.Progress, result: result, piece: discardFirst}
	if o.BytesPerSecond > 0 {
		w.pace = rate.NewLimiter(rate.Limit(o.BytesPerSecond), bufferBytes)
	}
	return w
}

// wait comes before each request: it returns when bytes more may be written,
// discarded or read, or with an error when the wipe is to end.
func (w *work) wait(ctx context.Context, bytes int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for w.pace != nil && bytes > 0 {
		n := min(bytes, bufferBytes)
		if err := w.pace.WaitN(ctx, int(n)); err != nil {
			return err
		}
		bytes -= n
	}
	return nil
}

// inPieces calls do for one piece of the span after the other, each as large as
// the device can do in a moment. Its first error ends it.
func (w *work) inPieces(ctx context.Context, s span, do func(off, length int64) error) error {
	for done := int64(0); done < s.length; {
		n := min(w.piece, s.length-done)
		if w.pace != nil {
			n = min(n, max(int64(w.pace.Limit()), bufferBytes))
		}
		if err := w.wait(ctx, n); err != nil {
			return err
		}
		began := time.Now()
		if err := do(s.off+done, n); err != nil {
			return err
		}
		w.progress.add(n)
		done += n
		// Pieces begin where the buffer could: whole sectors of any device.
		fits := n * int64(discardTime) / max(int64(time.Since(began)), 1)
		fits -= fits % bufferBytes
		w.piece = min(max(fits, bufferBytes), 2*w.piece, discardStep)
	}
	return nil
}
