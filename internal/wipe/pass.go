package wipe

import (
	"context"
	crand "crypto/rand"
	"errors"
	"math"
	"math/rand/v2"
)

// A pass goes over the whole device once, step bytes at a time.
type pass struct {
	step  int64
	write func(ctx context.Context, w *work, s span) error
}

var (
	discardPass = pass{discardStep, discard}
	zeroPass    = pass{writeStep, zero}
	trimPass    = pass{discardStep, trim}
	formatPass  = pass{wholeDevice, format}
)

// wholeDevice is the step of a pass that cannot be divided.
const wholeDevice = math.MaxInt64

// passes lists what is done with the device, nil for an unknown method.
func (o BlockOptions) passes() []pass {
	var out []pass
	switch o.Method {
	case "", MethodDiscard:
		return []pass{discardPass}
	case MethodFormat:
		// What a device reads as after its format is its own affair.
		return []pass{formatPass, discardPass}
	case MethodSignatures:
		return []pass{trimPass}
	case MethodZero:
		for range max(o.Passes, 1) {
			out = append(out, zeroPass)
		}
	case MethodShred:
		random := pass{writeStep, randomBytes()}
		for range max(o.Passes, 1) {
			out = append(out, random)
		}
		out = append(out, zeroPass)
	}
	return out
}

func discard(ctx context.Context, w *work, s span) error { return w.inPieces(ctx, s, w.Discard) }

// format erases the whole device, whatever the span.
func format(ctx context.Context, w *work, _ span) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return w.Format()
}

// errNoTrim: the device does not discard, or not any more.
var errNoTrim = errors.New("no discard")

// trim discards without a guarantee. It is a favour to the device and to the
// last tenant, on which nothing rests, so a device that cannot is no error.
func trim(ctx context.Context, w *work, s span) error {
	return w.inPieces(ctx, s, func(off, length int64) error {
		if err := w.Trim(off, length); err != nil {
			return errNoTrim
		}
		return nil
	})
}

func zero(ctx context.Context, w *work, s span) error {
	clear(w.buf)
	return overwrite(ctx, w, s, func([]byte) {})
}

// randomBytes returns a pass of random bytes. They are there to leave nothing
// of what was on the medium and not to be compressed away by the device, and
// they are overwritten with zeroes in the end; nobody has to keep them secret.
// So they come from a fast generator with a seed of its own for each call, and
// not from the kernel.
func randomBytes() func(context.Context, *work, span) error {
	var source *rand.ChaCha8
	return func(ctx context.Context, w *work, s span) error {
		if source == nil {
			var seed [32]byte
			crand.Read(seed[:]) // never fails
			source = rand.NewChaCha8(seed)
		}
		return overwrite(ctx, w, s, func(piece []byte) { source.Read(piece) })
	}
}

// overwrite writes the buffer, filled anew by fill for each write, over a span.
func overwrite(ctx context.Context, w *work, s span, fill func(piece []byte)) error {
	for done := int64(0); done < s.length; {
		piece := w.buf[:min(int64(len(w.buf)), s.length-done)]
		if err := w.wait(ctx, int64(len(piece))); err != nil {
			return err
		}
		fill(piece)
		n, err := w.WriteAt(piece, s.off+done)
		if err != nil {
			return err
		}
		done += int64(n)
		w.progress.add(int64(n))
	}
	return nil
}
