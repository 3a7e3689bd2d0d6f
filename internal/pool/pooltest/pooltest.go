//go:build linux

// Package pooltest is the suite that every kind of pool passes: what the
// comments of package pool promise, tried on a real disk.
package pooltest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/berth-storage/berth/internal/pool"
)

// mib is what the suite's sizes are counted in.
const mib = 1 << 20

// size is that of a volume where it does not matter: the smallest that btrfs
// has room to work in.
const size = 16 * mib

// note is the one that each volume of the suite has.
const note = `{"claim":"a/b", "text":"with spaces, = and é"}`

// A Disk is where a pool is: at least 256 MiB, of the suite alone.
type Disk struct {
	// Open opens the pool, as a new process would after whatever happened.
	Open func(t *testing.T) pool.Pool
	// Slack is how many bytes over its size a volume may hold, at most, before
	// writing fails.
	Slack int64
}

// Run runs the suite. Each part gets an empty disk from newDisk.
func Run(t *testing.T, newDisk func(t *testing.T) Disk) {
	for _, part := range []struct {
		name string
		run  func(*suite)
	}{
		{"a new volume is empty", (*suite).empty},
		{"carving again changes nothing", (*suite).again},
		{"bad requests leave nothing", (*suite).refused},
		{"space is promised once", (*suite).once},
		{"a volume keeps to its size", (*suite).enforced},
		{"a meter tells what is used", (*suite).metered},
		{"a volume grows", (*suite).grows},
		{"a raw device", (*suite).raw},
		{"removing returns the space", (*suite).removed},
		{"the next volume sees nothing", (*suite).next},
		{"a new process sees the same", (*suite).reopened},
	} {
		t.Run(part.name, func(t *testing.T) {
			d := newDisk(t)
			part.run(&suite{T: t, Disk: d, p: d.Open(t)})
		})
	}
}

type suite struct {
	*testing.T
	Disk
	p pool.Pool
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) wantErr(err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("the error is %v; want %v", err, want)
	}
}

func (s *suite) carve(id pool.ID, bytes int64, mode pool.Mode) pool.Volume {
	s.Helper()
	v, err := s.p.Carve(s.Context(), pool.Spec{ID: id, Bytes: bytes, Mode: mode, Note: note})
	s.must(err)
	if v.ID != id || v.Bytes < bytes || v.Mode != mode || v.Note != note {
		s.Errorf("asked for %s of %d bytes as %s, got %+v", mode, bytes, id, v)
	}
	return v
}

func (s *suite) room() pool.Room {
	s.Helper()
	r, err := s.p.Room(s.Context())
	s.must(err)
	if r.Free < 0 || r.Free > r.Total || r.Largest > r.Free {
		s.Errorf("the room is %+v", r)
	}
	return r
}

// wantVolumes fails unless these, and no others, are in the pool.
func (s *suite) wantVolumes(want ...pool.Volume) {
	s.Helper()
	got, err := s.p.Volumes(s.Context())
	s.must(err)
	if !slices.Equal(got, want) {
		s.Errorf("the volumes are %v; want %v", got, want)
	}
}

func (s *suite) empty() {
	for _, mode := range []pool.Mode{pool.Filesystem, pool.Block} {
		v := s.carve(pool.ID("new-"+map[pool.Mode]string{pool.Filesystem: "fs", pool.Block: "raw"}[mode]), size, mode)
		s.wantEmpty(v)
	}
}

func (s *suite) again() {
	before := s.room()
	v := s.carve("a", size, pool.Filesystem)
	s.write(v, 0, mib)
	once := s.room()
	if got := s.carve("a", size, pool.Filesystem); got != v {
		s.Errorf("the second time it is %+v, the first %+v", got, v)
	}
	if got := s.room(); got != once || before.Free-once.Free != v.Bytes {
		s.Errorf("room before %+v, after one %+v, after two %+v", before, once, got)
	}
	s.wantWritten(v, 0, mib)
	_, err := s.p.Carve(s.Context(), pool.Spec{ID: "a", Bytes: 2 * size, Mode: pool.Filesystem})
	s.wantErr(err, pool.ErrDiffers)
	_, err = s.p.Carve(s.Context(), pool.Spec{ID: "a", Bytes: size, Mode: pool.Block})
	s.wantErr(err, pool.ErrDiffers)
	s.wantVolumes(v)
}

func (s *suite) refused() {
	before := s.room()
	for _, bad := range []struct {
		spec pool.Spec
		want error
	}{
		{pool.Spec{ID: "", Bytes: size, Mode: pool.Filesystem}, pool.ErrInvalid},
		{pool.Spec{ID: "../a", Bytes: size, Mode: pool.Filesystem}, pool.ErrInvalid},
		{pool.Spec{ID: "A", Bytes: size, Mode: pool.Filesystem}, pool.ErrInvalid},
		{pool.Spec{ID: ".new-a", Bytes: size, Mode: pool.Filesystem}, pool.ErrInvalid},
		{pool.Spec{ID: "a", Bytes: 0, Mode: pool.Filesystem}, pool.ErrInvalid},
		{pool.Spec{ID: "a", Bytes: -1, Mode: pool.Filesystem}, pool.ErrInvalid},
		{pool.Spec{ID: "a", Bytes: size, Mode: "file"}, pool.ErrInvalid},
		{pool.Spec{ID: "a", Bytes: size, Mode: pool.Block, Note: strings.Repeat("x", 513)}, pool.ErrInvalid},
		{pool.Spec{ID: "a", Bytes: before.Free + 1, Mode: pool.Filesystem}, pool.ErrNoRoom},
		{pool.Spec{ID: "a", Bytes: before.Free + 1, Mode: pool.Block}, pool.ErrNoRoom},
		{pool.Spec{ID: "a", Bytes: 1<<63 - 1, Mode: pool.Filesystem}, pool.ErrNoRoom},
	} {
		_, err := s.p.Carve(s.Context(), bad.spec)
		s.wantErr(err, bad.want)
	}
	_, err := s.p.Grow(s.Context(), "a", size)
	s.wantErr(err, pool.ErrNotFound)
	_, err = s.p.Open(s.Context(), "a")
	s.wantErr(err, pool.ErrNotFound)
	_, err = s.p.Open(s.Context(), "..")
	s.wantErr(err, pool.ErrInvalid)
	s.must(s.p.Close(s.Context(), "a"))
	s.must(s.p.Remove(s.Context(), "a"))
	s.wantErr(s.p.Remove(s.Context(), "../a"), pool.ErrInvalid)
	s.wantVolumes()
	if got := s.room(); got != before {
		s.Errorf("the room was %+v and is %+v", before, got)
	}
}

// once: many callers at a time get what there is, and not a byte more.
func (s *suite) once() {
	const fit, ask = 3, 12
	before := s.room()
	each := before.Free / fit / mib * mib
	results := make([]error, ask)
	var carving sync.WaitGroup
	for i := range results {
		carving.Go(func() {
			_, results[i] = s.p.Carve(s.Context(), pool.Spec{ID: pool.ID(fmt.Sprint("v", i)), Bytes: each, Mode: pool.Filesystem})
		})
	}
	carving.Wait()
	made := 0
	for _, err := range results {
		if err == nil {
			made++
		} else {
			s.wantErr(err, pool.ErrNoRoom)
		}
	}
	volumes, err := s.p.Volumes(s.Context())
	s.must(err)
	promised := int64(0)
	for _, v := range volumes {
		promised += v.Bytes
	}
	if made != fit || len(volumes) != fit || promised > before.Free || s.room().Free != before.Free-promised {
		s.Errorf("%d were made and %d are there, of %d bytes together, out of %+v; now it is %+v", made, len(volumes), promised, before, s.room())
	}
}

func (s *suite) reopened() {
	a, b := s.carve("a", size, pool.Filesystem), s.carve("b", size, pool.Block)
	s.write(a, 0, mib)
	s.write(b, 0, mib)
	before := s.room()
	s.p = s.Disk.Open(s.T)
	s.wantVolumes(a, b)
	if got := s.room(); got != before {
		s.Errorf("the room was %+v and is %+v", before, got)
	}
	s.wantWritten(a, 0, mib)
	s.wantWritten(b, 0, mib)
	s.must(s.p.Close(s.Context(), "b"))
}
