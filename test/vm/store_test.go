package vm

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestStoreLosesOnlyWhatWasNotFlushed: whatever happens, the machine reads what
// it wrote last, and after a loss of power each page is one of its versions
// since the last flush.
func TestStoreLosesOnlyWhatWasNotFlushed(t *testing.T) {
	const pages = 300 // more than bulkBytes
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		s, err := newStore(pages*pageBytes, false)
		if err != nil {
			t.Fatal(err)
		}
		defer s.file.Close()
		now := make([]byte, pages*pageBytes) // what the machine has to read
		var may [pages][][]byte              // what a page may have after a loss
		note := func() {
			for i := range may {
				may[i] = append(may[i], bytes.Clone(now[i*pageBytes:(i+1)*pageBytes]))
			}
		}
		check := func(what string) {
			t.Helper()
			got := make([]byte, len(now))
			if _, err := s.ReadAt(got, 0); err != nil || !bytes.Equal(got, now) {
				t.Fatalf("seed %d, after %s: reads something else, %v", seed, what, err)
			}
		}
		note()
		for range 20 {
			off := r.IntN(pages*8) * sectorBytes
			length := (1 + r.IntN(pages*8-off/sectorBytes)) * sectorBytes
			switch r.IntN(4) {
			case 0:
				clear(now[off : off+length])
				if err := s.zero(int64(off), int64(length)); err != nil {
					t.Fatal(err)
				}
				check("zero")
			case 1:
				if err := s.flush(); err != nil {
					t.Fatal(err)
				}
				check("flush")
				clear(may[:])
			default:
				data := bytes.Repeat([]byte{byte(1 + r.IntN(255))}, min(length, 20*sectorBytes))
				copy(now[off:], data)
				if err := s.write(data, int64(off)); err != nil {
					t.Fatal(err)
				}
				check("write")
			}
			note()
		}
		if err := s.lose(r); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(now))
		if _, err := s.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
	page:
		for i := range may {
			for _, version := range may[i] {
				if bytes.Equal(got[i*pageBytes:(i+1)*pageBytes], version) {
					continue page
				}
			}
			t.Fatalf("seed %d: page %d has none of its versions since the last flush", seed, i)
		}
	}
}
