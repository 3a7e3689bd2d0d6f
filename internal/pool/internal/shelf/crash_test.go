package shelf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"testing"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

var errDead = errors.New("the process is dead")

// mortal does what a machine does until a step is reached, and nothing from
// then on: before that step, or after it. One that only fails goes on after it.
type mortal struct {
	*host.Folder
	steps   int // taken so far
	dies    int // at this step; none when 0
	after   bool
	fails   bool
	make    func() // is called when a directory is made, if not nil
	destroy func() // is called when something is destroyed, if not nil
}

func (m *mortal) step(do func() error) error {
	m.steps++
	switch {
	case m.dies == 0, m.steps < m.dies, m.steps > m.dies && m.fails:
		return do()
	case m.steps == m.dies && m.after:
		return errors.Join(do(), errDead)
	}
	return errDead
}

func (m *mortal) Mkdir(name string, mode fs.FileMode) error {
	return m.step(func() error { return m.Folder.Mkdir(name, mode) })
}
func (m *mortal) WriteFile(name string, data []byte) error {
	return m.step(func() error { return m.Folder.WriteFile(name, data) })
}
func (m *mortal) Allocate(name string, bytes int64) error {
	return m.step(func() error { return m.Folder.Allocate(name, bytes) })
}
func (m *mortal) Rename(from, to string) error {
	return m.step(func() error { return m.Folder.Rename(from, to) })
}
func (m *mortal) Remove(name string) error {
	return m.step(func() error { return m.Folder.Remove(name) })
}

// Make, Limit, Destroy and Total make it a Kind: a directory with its limit in
// a file beside it.
func (m *mortal) Make(f *host.Folder, name string) error {
	if m.make != nil {
		m.make()
	}
	return m.step(func() error { return f.Mkdir(name, 0o755) })
}
func (m *mortal) Limit(f *host.Folder, name string, bytes int64) error {
	return m.step(func() error { return os.WriteFile(f.Path(name)+"/limit", fmt.Append(nil, bytes), 0o600) })
}
func (m *mortal) Destroy(_ context.Context, f *host.Folder, name string) error {
	if m.destroy != nil {
		m.destroy()
	}
	return m.step(func() error { return os.RemoveAll(f.Path(name)) })
}
func (m *mortal) Total(*host.Folder) (int64, error) { return 64 * Unit, nil }

// open opens the shelf in dir with a machine that dies at a step.
func open(t *testing.T, dir string, dies int, after bool) (*Shelf, *mortal, error) {
	t.Helper()
	f, err := host.OpenFolder(dir, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	m := &mortal{Folder: f, dies: dies, after: after}
	s, err := Open(t.Context(), f, m, pool.Reserve{}, func(Hands) Hands { return m })
	return s, m, err
}

var old = pool.Volume{ID: "old", Bytes: 4 * Unit, Mode: pool.Filesystem}

// calls are what is done to a shelf that has the old volume, and what it has
// afterwards.
var calls = []struct {
	name  string
	do    func(context.Context, *Shelf) error
	after []pool.Volume
}{
	{"carve", carve(fresh), []pool.Volume{fresh, old}},
	{"carve raw", carve(raw), []pool.Volume{old, raw}},
	{"grow", func(ctx context.Context, s *Shelf) error { _, err := s.Grow(ctx, "old", larger.Bytes); return err }, []pool.Volume{larger}},
	{"remove", func(ctx context.Context, s *Shelf) error { return s.Remove(ctx, "old") }, nil},
}

var (
	fresh  = pool.Volume{ID: "new", Bytes: 8 * Unit, Mode: pool.Filesystem}
	raw    = pool.Volume{ID: "raw", Bytes: 8 * Unit, Mode: pool.Block}
	larger = pool.Volume{ID: "old", Bytes: 16 * Unit, Mode: pool.Filesystem}
)

func carve(v pool.Volume) func(context.Context, *Shelf) error {
	return func(ctx context.Context, s *Shelf) error { _, err := s.Carve(ctx, pool.Spec(v)); return err }
}

// withOld returns a shelf with the old volume.
func withOld(t *testing.T) (*Shelf, *mortal, string) {
	t.Helper()
	dir := t.TempDir()
	s, m, err := open(t, dir, 0, false)
	if err == nil {
		err = carve(old)(t.Context(), s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, m, dir
}

// TestFailure makes each step of each call fail, once, with and without effect. What the same process
// sees is what was there before, or all of what was to be, and the call made
// again does its work.
func TestFailure(t *testing.T) {
	for _, call := range calls {
		t.Run(call.name, func(t *testing.T) {
			for fails, last := 1, false; !last; fails++ {
				for _, after := range []bool{false, true} {
					s, m, dir := withOld(t)
					m.dies, m.fails, m.after = m.steps+fails, true, after
					err := call.do(t.Context(), s)
					if last = m.steps < m.dies; last && err != nil {
						t.Errorf("failing at step %d of %d: %v", fails, m.steps, err)
					}
					wantLimits(t, s, dir)
					m.dies = 0
					if err := call.do(t.Context(), s); err != nil {
						t.Errorf("failed at step %d (after: %v), once more: %v", fails, after, err)
					}
					wantEither(t, s, fmt.Sprintf("failed at step %d (after: %v)", fails, after), call.after)
					wantLimits(t, s, dir)
				}
			}
		})
	}
}

// TestMakingHasItsSpace: what is being made is promised already.
func TestMakingHasItsSpace(t *testing.T) {
	s, m, _ := withOld(t) // 4 of 64 units are promised
	made := 0
	m.make = func() {
		made++
		_, err := s.Carve(t.Context(), pool.Spec{ID: "other", Bytes: 31 * Unit, Mode: pool.Filesystem})
		if now, roomErr := s.Room(t.Context()); !errors.Is(err, pool.ErrNoRoom) || roomErr != nil || now.Free != 30*Unit {
			t.Errorf("while a volume is made the room is %+v (%v), and carving more says: %v", now, roomErr, err)
		}
	}
	if _, err := s.Carve(t.Context(), pool.Spec{ID: "new", Bytes: 30 * Unit, Mode: pool.Filesystem}); err != nil || made != 1 {
		t.Errorf("made %d times: %v", made, err)
	}
}

// TestLeavingKeepsItsSpace: what is being erased is promised to nobody else.
func TestLeavingKeepsItsSpace(t *testing.T) {
	s, m, _ := withOld(t)
	before, err := s.Room(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.destroy = func() {
		if now, err := s.Room(t.Context()); err != nil || now != before {
			t.Errorf("while a volume is erased the room is %+v (%v), not %+v", now, err, before)
		}
		m.destroy = nil
	}
	if err := s.Remove(t.Context(), "old"); err != nil {
		t.Error(err)
	}
	if m.destroy != nil {
		t.Error("nothing was destroyed")
	}
}

// TestCrash kills each call before and after each of its steps, also while the
// next start mends that. What a new process sees is what was there before or
// what was to be, with no space lost, and the call made again does its work.
func TestCrash(t *testing.T) {
	for _, call := range calls {
		t.Run(call.name, func(t *testing.T) {
			for dies := 1; ; dies++ {
				survived := false
				for _, after := range []bool{false, true} {
					for again := range 4 { // the step at which the next start dies, 0 for none
						s, m, dir := withOld(t)
						m.dies, m.after = m.steps+dies, after
						survived = call.do(t.Context(), s) == nil && m.steps < m.dies
						if again > 0 {
							_, _, _ = open(t, dir, again, after) // its end is what is tried
						}
						s, _, err := open(t, dir, 0, false)
						if err != nil {
							t.Fatalf("dead at step %d (after: %v), opening: %v", dies, after, err)
						}
						wantEither(t, s, fmt.Sprintf("dead at step %d (after: %v, again %d)", dies, after, again), []pool.Volume{old}, call.after)
						wantLimits(t, s, dir)
						if err := call.do(t.Context(), s); err != nil {
							t.Errorf("dead at step %d (after: %v), once more: %v", dies, after, err)
						}
						wantEither(t, s, "once more", call.after)
						wantLimits(t, s, dir)
					}
				}
				if survived {
					break
				}
			}
		})
	}
}

// wantEither fails unless the shelf has one of these sets of volumes, the room
// that is left by it, and nothing else on the disk.
func wantEither(t *testing.T, s *Shelf, when string, sets ...[]pool.Volume) {
	t.Helper()
	got, err := s.Volumes(t.Context())
	room, roomErr := s.Room(t.Context())
	if err != nil || roomErr != nil || !slices.ContainsFunc(sets, func(want []pool.Volume) bool { return slices.Equal(got, want) }) {
		t.Fatalf("%s: the volumes are %v (%v, %v)", when, got, err, roomErr)
	}
	free := room.Total
	for _, v := range got {
		free -= v.Bytes
	}
	if room.Free != free {
		t.Errorf("%s: %d bytes are free, not %d", when, room.Free, free)
	}
	names, err := s.folder.Names(".")
	if err != nil || len(names) != len(got) {
		t.Errorf("%s: the pool's directory has %v (%v)", when, names, err)
	}
}

// wantLimits fails unless each directory is limited to what is promised.
func wantLimits(t *testing.T, s *Shelf, dir string) {
	t.Helper()
	all, err := s.Volumes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if v.Mode == pool.Block {
			if info, err := os.Stat(dir + "/" + string(v.ID) + "/" + dataFile); err != nil || info.Size() != v.Bytes {
				t.Errorf("the file of %s: %v (%v)", v.ID, info, err)
			}
			continue
		}
		limit, err := os.ReadFile(dir + "/" + string(v.ID) + "/" + Data + "/limit")
		if string(limit) != fmt.Sprint(v.Bytes) {
			t.Errorf("%s is limited to %s (%v)", v.ID, limit, err)
		}
	}
}

// TestDamagedPromise: a volume whose promise cannot be read is not taken for
// one that is not there.
func TestDamagedPromise(t *testing.T) {
	dir := t.TempDir()
	s, _, err := open(t, dir, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	spec := pool.Spec{ID: "a", Bytes: Unit, Mode: pool.Filesystem}
	if _, err := s.Carve(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	for _, damaged := range []string{"", "{", `{"ID":"b","Bytes":4096,"Mode":"Filesystem"}`, `{"ID":"a","Bytes":-1,"Mode":"Filesystem"}`} {
		if err := os.WriteFile(dir+"/a/"+specFile, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := open(t, dir, 0, false); err == nil || errors.Is(err, pool.ErrNotFound) {
			t.Errorf("with the promise %q, opening says %v", damaged, err)
		}
	}
	if names, err := os.ReadDir(dir + "/a"); err != nil || len(names) != 2 {
		t.Errorf("its directory has %v (%v)", names, err)
	}
}
