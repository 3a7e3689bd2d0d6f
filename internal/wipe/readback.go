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

// verifyBlock reads spans of the device back. The buffer is overwritten.
func verifyBlock(ctx context.Context, b device, spans []span, buf []byte, result *Result) error {
	zeroes := make([]byte, 64<<10)
	for _, s := range spans {
		for done := int64(0); done < s.length; {
			if err := ctx.Err(); err != nil {
				return err
			}
			got := buf[:min(int64(len(buf)), s.length-done)]
			if _, err := b.ReadAt(got, s.off+done); err != nil {
				return err
			}
			if i := nonZero(got, zeroes); i >= 0 {
				return fmt.Errorf("%w: byte at %d", ErrNotZero, s.off+done+int64(i))
			}
			done += int64(len(got))
			result.Verified += int64(len(got))
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
