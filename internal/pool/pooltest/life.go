//go:build linux

package pooltest

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/pool"
)

// enforced: what is written over a volume's size fails, and takes nothing from
// its neighbour.
func (s *suite) enforced() {
	a, b := s.carve("a", size, pool.Filesystem), s.carve("b", size, pool.Filesystem)
	f := s.p.Features()
	if !f.Enforced {
		if err := s.tryWrite(a, 0, a.Bytes+s.Slack+mib); err != nil {
			s.Errorf("the pool does not say that it enforces sizes, and does: %v", err)
		}
		return
	}
	var err error
	tenant(s, func() { err = s.tryWrite(a, 0, a.Bytes+s.Slack+mib) })
	if !full(err) {
		s.Errorf("writing %d bytes to a volume of %d: %v", a.Bytes+s.Slack+mib, a.Bytes, err)
	}
	s.write(b, 0, b.Bytes/2)
	s.wantWritten(b, 0, mib)
}

// metered: a pool that says how much is used says it of each volume alone.
func (s *suite) metered() {
	m, ok := s.p.(pool.Meter)
	if !ok {
		return
	}
	a, b := s.carve("a", size, pool.Filesystem), s.carve("b", size, pool.Filesystem)
	s.carve("raw", size, pool.Block)
	s.write(a, 0, size/2)
	at, err := s.p.Open(s.Context(), "a")
	s.must(err)
	dir, err := os.Open(at.Dir)
	s.must(err)
	defer dir.Close()
	s.must(unix.Syncfs(int(dir.Fd())))
	used, err := m.Used(s.Context(), "a")
	s.must(err)
	if used.Bytes < size/2 || used.Bytes > size/2+s.Slack || used.Inodes != 0 && used.Inodes != 2 {
		s.Errorf("with a file of %d bytes it says %+v", size/2, used)
	}
	if used, err := m.Used(s.Context(), b.ID); err != nil || used.Bytes > s.Slack || used.Inodes > 1 {
		s.Errorf("the empty one says %+v (%v)", used, err)
	}
	_, err = m.Used(s.Context(), "raw")
	s.wantErr(err, pool.ErrInvalid)
	_, err = m.Used(s.Context(), "none")
	s.wantErr(err, pool.ErrNotFound)
}

func (s *suite) grows() {
	for _, mode := range []pool.Mode{pool.Filesystem, pool.Block} {
		id := pool.ID("fs")
		if mode == pool.Block {
			id = "raw"
		}
		v := s.carve(id, size, mode)
		s.write(v, 0, mib)
		before := s.room()
		grown, err := s.p.Grow(s.Context(), id, 2*size)
		s.must(err)
		if got := s.room(); grown.Bytes < 2*size || before.Free-got.Free != grown.Bytes-v.Bytes {
			s.Errorf("grown to %+v, the room from %+v to %+v", grown, before, got)
		}
		if mode == pool.Block || s.p.Features().Device {
			s.wantZeroes(grown, v.Bytes, grown.Bytes-v.Bytes)
		}
		s.write(grown, v.Bytes, size/2)
		s.wantWritten(grown, 0, mib)
		for _, less := range []int64{0, size, grown.Bytes} {
			if got, err := s.p.Grow(s.Context(), id, less); err != nil || got != grown {
				s.Errorf("growing to %d gives %+v (%v), not %+v", less, got, err, grown)
			}
		}
		room := s.room()
		for _, more := range []int64{grown.Bytes + room.Free + 1, 1<<63 - 1} {
			_, err = s.p.Grow(s.Context(), id, more)
			s.wantErr(err, pool.ErrNoRoom)
		}
		if got := s.room(); got != room {
			s.Errorf("the room was %+v, and is %+v after growing too far", room, got)
		}
		s.wantWritten(grown, 0, mib)
		s.must(s.p.Close(s.Context(), id))
	}
}

// raw: a volume of mode Block keeps its bytes when it is closed, and is not
// closed or removed while it is in use.
func (s *suite) raw() {
	v := s.carve("a", size, pool.Block)
	s.write(v, v.Bytes-mib, mib)
	at, err := s.p.Open(s.Context(), "a")
	s.must(err)
	user, err := os.OpenFile(at.Device, os.O_RDWR|unix.O_EXCL, 0)
	s.must(err)
	s.wantErr(s.p.Close(s.Context(), "a"), pool.ErrBusy)
	s.wantErr(s.p.Remove(s.Context(), "a"), pool.ErrBusy)
	s.must(user.Close())
	s.must(s.p.Close(s.Context(), "a"))
	s.wantVolumes(v)
	s.wantWritten(v, v.Bytes-mib, mib)
	s.wantZeroes(v, 0, mib)
	s.must(s.p.Close(s.Context(), "a"))
}

func (s *suite) removed() {
	before := s.room()
	a, b := s.carve("a", size, pool.Filesystem), s.carve("b", size, pool.Block)
	s.write(a, 0, mib)
	s.write(b, 0, mib)
	s.litter(a)
	for _, id := range []pool.ID{"a", "b", "a"} {
		s.must(s.p.Close(s.Context(), id))
		s.must(s.p.Remove(s.Context(), id))
	}
	s.wantVolumes()
	if got := s.room(); got != before {
		s.Errorf("the room was %+v before, and is %+v after all is removed", before, got)
	}
}

// litter leaves what makes removing hard.
func (s *suite) litter(v pool.Volume) {
	s.Helper()
	at, err := s.p.Open(s.Context(), v.ID)
	s.must(err)
	if at.Dir == "" {
		return
	}
	deep := filepath.Join(at.Dir, "a", "b", "c")
	s.must(os.MkdirAll(deep, 0o700))
	s.must(os.Symlink("/etc", filepath.Join(deep, "link")))
	s.must(os.WriteFile(filepath.Join(deep, "kept"), []byte("x"), 0o400))
	s.must(os.Chmod(deep, 0))
	s.must(os.Chmod(at.Dir, 0))
}

// next: who gets the same space, and the same name, sees nothing.
func (s *suite) next() {
	for _, mode := range []pool.Mode{pool.Filesystem, pool.Block} {
		for range 2 {
			v := s.carve("a", size, mode)
			s.wantEmpty(v)
			s.write(v, 0, size/2)
			if s.p.Features().Raw {
				s.erase(v)
			}
			s.must(s.p.Close(s.Context(), "a"))
			s.must(s.p.Remove(s.Context(), "a"))
		}
	}
}

// erase does what the caller of a Raw pool does.
func (s *suite) erase(v pool.Volume) {
	s.Helper()
	f := s.file(v, os.O_RDWR)
	_, err := f.WriteAt(make([]byte, v.Bytes), 0)
	s.must(err)
	s.must(f.Sync())
	s.must(f.Close())
}
