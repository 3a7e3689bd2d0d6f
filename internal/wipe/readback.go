package wipe

import (
	"bytes"
	"context"
	"fmt"
)

// How much of a device is read back unless all of it is asked for: all of a
// small one; of a larger one the ends, where partition tables, superblocks and
// labels are, and samples in between, readAll in total.
const (
	readAll     = int64(1) << 30
	readEnds    = int64(64) << 20
	sampleBytes = int64(1) << 20
)

// span is a range of a device in bytes.
type span struct{ off, length int64 }

// samples lists what to read back of a device, in ascending order and without
// overlaps. Offsets are whole MiB, except for the device's end, which begins
// at a multiple of its sector like its size.
func samples(size int64, full bool) []span {
	if full || size <= readAll {
		return []span{{0, size}}
	}
	spans := []span{{0, readEnds}}
	const count = (readAll - 2*readEnds) / sampleBytes
	// The samples lie between the ends; the step is at least one sample,
	// because the device is larger than all that is read.
	between := size - 2*readEnds
	for i := range count {
		// i*between/count without an overflow on the largest devices.
		off := readEnds + between/count*i + between%count*i/count
		off -= off % sampleBytes
		spans = append(spans, span{off, sampleBytes})
	}
	return append(spans, span{size - readEnds, readEnds})
}

// sum is how many bytes the spans have.
func sum(spans []span) (bytes int64) {
	for _, s := range spans {
		bytes += s.length
	}
	return bytes
}

// verify reads the device back, as the options say. Reading all of it goes on
// where an earlier call has come to; of what that one has read, samples are read
// again, as others may have written to the device between the calls.
func verify(ctx context.Context, w *work, o BlockOptions) error {
	if o.Method == MethodSignatures {
		return verifySignatures(ctx, w)
	}
	size, erased := w.Size(), o.Total(w.Size())
	spans := samples(size, o.Full)
	reached := func(int64) error { return nil }
	if o.Full {
		read := max(o.From-erased, 0)
		if read > 0 {
			spans = append(samples(read, false), span{read, size - read})
		}
		reached = func(off int64) error {
			if off <= read {
				return nil
			}
			return o.checkpoint(erased + off)
		}
	}
	w.progress.begin(PhaseVerify, 0, sum(spans))
	return verifyBlock(ctx, w, spans, o.stepOr(writeStep), reached)
}

// verifyBlock reads spans of the device back. It calls reached with the end of
// each step bytes of a span.
func verifyBlock(ctx context.Context, w *work, spans []span, step int64, reached func(off int64) error) error {
	zeroes := make([]byte, 64<<10)
	for _, s := range spans {
		told := int64(0)
		for done := int64(0); done < s.length; {
			got := w.buf[:min(int64(len(w.buf)), s.length-done)]
			if err := w.wait(ctx, int64(len(got))); err != nil {
				return err
			}
			if _, err := w.ReadAt(got, s.off+done); err != nil {
				return err
			}
			if i := nonZero(got, zeroes); i >= 0 {
				return fmt.Errorf("%w: byte at %d", ErrNotZero, s.off+done+int64(i))
			}
			done += int64(len(got))
			w.result.Verified += int64(len(got))
			w.progress.add(int64(len(got)))
			if done-told < step {
				continue
			}
			told = done
			if err := reached(s.off + done); err != nil {
				return err
			}
		}
	}
	return nil
}

// nonZero returns the index of the first byte of buf that is not zero, or -1.
// It compares in pieces of zeroes' length, at the speed of memory.
func nonZero(buf, zeroes []byte) int {
	for at := 0; at < len(buf); at += len(zeroes) {
		piece := buf[at:min(at+len(zeroes), len(buf))]
		if bytes.Equal(piece, zeroes[:len(piece)]) {
			continue
		}
		for i, c := range piece {
			if c != 0 {
				return at + i
			}
		}
	}
	return -1
}
