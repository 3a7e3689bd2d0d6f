//go:build linux

package pooltest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/pool"
)

// file is what the suite writes in a volume: a file in a directory, or the
// device itself.
func (s *suite) file(v pool.Volume, flags int) *os.File {
	s.Helper()
	at, err := s.p.Open(s.Context(), v.ID)
	s.must(err)
	path := at.Device
	if path == "" {
		path = filepath.Join(at.Dir, "file")
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	s.must(err)
	return f
}

// written is what the suite writes: no block of it is zero.
func written(n int) []byte { return bytes.Repeat([]byte("a tenant's bytes"), n/16) }

// write writes n bytes at off, and syncs them.
func (s *suite) write(v pool.Volume, off, n int64) {
	s.Helper()
	s.must(s.tryWrite(v, off, n))
}

func (s *suite) tryWrite(v pool.Volume, off, n int64) error {
	s.Helper()
	f := s.file(v, os.O_RDWR)
	for done := int64(0); done < n; done += mib {
		if _, err := f.WriteAt(written(int(min(mib, n-done))), off+done); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(f.Sync(), f.Close())
}

func (s *suite) read(v pool.Volume, off, n int64) []byte {
	s.Helper()
	f := s.file(v, os.O_RDONLY)
	defer f.Close()
	got := make([]byte, n)
	_, err := f.ReadAt(got, off)
	s.must(err)
	return got
}

func (s *suite) wantWritten(v pool.Volume, off, n int64) {
	s.Helper()
	if !bytes.Equal(s.read(v, off, n), written(int(n))) {
		s.Errorf("%s does not have at %d what was written there", v.ID, off)
	}
}

func (s *suite) wantZeroes(v pool.Volume, off, n int64) {
	s.Helper()
	if got := s.read(v, off, n); len(bytes.Trim(got, "\x00")) > 0 {
		s.Errorf("%s has bytes between %d and %d that nobody wrote there", v.ID, off, off+n)
	}
}

// wantEmpty fails when something is in a volume.
func (s *suite) wantEmpty(v pool.Volume) {
	s.Helper()
	at, err := s.p.Open(s.Context(), v.ID)
	s.must(err)
	if second, err := s.p.Open(s.Context(), v.ID); err != nil || second != at {
		s.Errorf("opened again it is at %v (%v), not %v", second, err, at)
	}
	if at.Device != "" {
		if got := deviceSize(s, at.Device); got != v.Bytes {
			s.Errorf("%s has %d bytes, its device %d", v.ID, v.Bytes, got)
		}
		s.wantZeroes(v, 0, v.Bytes)
	} else if in, err := os.ReadDir(at.Dir); err != nil || len(in) > 0 {
		s.Errorf("in %s there are %v (%v)", at.Dir, in, err)
	}
	s.must(s.p.Close(s.Context(), v.ID))
	s.must(s.p.Close(s.Context(), v.ID))
}

func deviceSize(s *suite, path string) int64 {
	s.Helper()
	f, err := os.Open(path)
	s.must(err)
	defer f.Close()
	n, err := f.Seek(0, io.SeekEnd)
	s.must(err)
	return n
}

// full reports whether an error says that there is no room to write.
func full(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// tenant does something as a container would, which has no CAP_SYS_RESOURCE: it
// lifts ext4's quotas.
func tenant(s *suite, do func()) {
	s.Helper()
	var wait sync.WaitGroup
	wait.Go(func() {
		runtime.LockOSThread() // and never unlocked, so that the thread ends with this
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var sets [2]unix.CapUserData
		err := unix.Capget(&header, &sets[0])
		if err == nil {
			sets[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
			err = unix.Capset(&header, &sets[0])
		}
		if err != nil {
			s.Errorf("putting down CAP_SYS_RESOURCE: %v", err)
			return
		}
		do()
	})
	wait.Wait()
}
