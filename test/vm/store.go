package vm

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Disks are addressed in sectors and write whole pages: a page is on the medium
// as a whole or not at all. So it is with disks since about 2011, and
// filesystems rely on it for their superblocks.
const (
	sectorBytes = 512
	pageBytes   = 4096
)

// bulkBytes is the length from which zeroes go to the medium at once, which a
// disk may do at any time, and are not held in memory.
const bulkBytes = int64(1) << 20

// A store is the content of a disk: a medium that keeps it, and a volatile
// cache of what was written since the last flush.
type store struct {
	size int64
	file *os.File // without a name
	// kept says that a loss of power loses nothing of the cache.
	kept   bool
	health health

	mu sync.Mutex // guards cache, and the order of writes to the file
	// cache has the versions of each page since the last flush, the oldest first.
	cache map[int64][][]byte
}

func newStore(size int64, kept bool) (*store, error) {
	if size <= 0 || size%pageBytes != 0 {
		return nil, fmt.Errorf("making a disk: %d bytes are not whole pages of %d", size, pageBytes)
	}
	fd, err := unix.Open(os.TempDir(), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making a disk in %s: %w", os.TempDir(), err)
	}
	file := os.NewFile(uintptr(fd), "disk")
	if err := file.Truncate(size); err != nil {
		file.Close()
		return nil, fmt.Errorf("making a disk: %w", err)
	}
	return &store{size: size, file: file, kept: kept, cache: map[int64][][]byte{}}, nil
}

func (s *store) inside(off, length int64) error {
	if off < 0 || length < 0 || off%sectorBytes != 0 || length%sectorBytes != 0 || off > s.size-length {
		return fmt.Errorf("%d bytes at %d: not whole sectors of the disk", length, off)
	}
	return nil
}

// ReadAt reads as the machine does. It does not need whole sectors.
func (s *store) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read(p, off)
}

func (s *store) read(p []byte, off int64) (int, error) {
	n, err := s.file.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, err
	}
	if len(s.cache) > 0 {
		for page := off / pageBytes; page*pageBytes < off+int64(n); page++ {
			if versions := s.cache[page]; versions != nil {
				data, at := versions[len(versions)-1], page*pageBytes-off
				if at < 0 {
					data, at = data[-at:], 0
				}
				copy(p[at:n], data)
			}
		}
	}
	return n, err
}

// write puts data, which is not to be changed any more, into the cache.
func (s *store) write(data []byte, off int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(data) > 0 {
		page, in := off/pageBytes, off%pageBytes
		n := min(pageBytes-in, int64(len(data)))
		version := data[:n:n]
		if n < pageBytes {
			version = make([]byte, pageBytes)
			if _, err := s.read(version, page*pageBytes); err != nil {
				return err
			}
			copy(version[in:], data[:n])
		}
		s.cache[page] = append(s.cache[page], version)
		data, off = data[n:], off+n
	}
	return nil
}

// zero has the range read as zeroes.
func (s *store) zero(off, length int64) error {
	if length < bulkBytes {
		return s.write(make([]byte, length), off)
	}
	// The pages at the ends may be zeroed in part.
	start, end := (off+pageBytes-1)/pageBytes*pageBytes, (off+length)/pageBytes*pageBytes
	err := errors.Join(s.write(make([]byte, start-off), off), s.write(make([]byte, off+length-end), end))
	if err != nil {
		return err
	}
	off, length = start, end-start
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.cache, func(page int64, _ [][]byte) bool {
		return page*pageBytes >= off && page*pageBytes < off+length
	})
	return unix.Fallocate(int(s.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
}

// flush moves the cache to the medium.
func (s *store) flush() error {
	return s.settle(func(versions int) int { return versions })
}

// lose is what a loss of power does: of each page in the cache, one of its
// versions is on the medium or the one from before. Disks differ: r chooses
// whether all is lost, nothing is, or each page for itself.
func (s *store) lose(r *rand.Rand) error {
	if s.kept {
		return s.flush()
	}
	switch r.IntN(3) {
	case 0:
		return s.settle(func(int) int { return 0 })
	case 1:
		return s.flush()
	default:
		return s.settle(func(versions int) int { return r.IntN(versions + 1) })
	}
}

// settle empties the cache. It asks for each page which of its versions,
// counted from 1, goes to the medium; 0 is none. It asks in ascending order, so
// that the same seed loses the same.
func (s *store) settle(version func(versions int) int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var run []byte
	var at int64
	put := func() error {
		_, err := s.file.WriteAt(run, at)
		run = run[:0]
		return err
	}
	for _, page := range slices.Sorted(maps.Keys(s.cache)) {
		versions := s.cache[page]
		n := version(len(versions))
		if n == 0 {
			continue
		}
		if off := page * pageBytes; off != at+int64(len(run)) {
			if err := put(); err != nil {
				return err
			}
			at = off
		}
		run = append(run, versions[n-1]...)
	}
	clear(s.cache)
	return put()
}
