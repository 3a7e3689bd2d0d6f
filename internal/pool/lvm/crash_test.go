package lvm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/pool"
)

var (
	old    = pool.Volume{ID: "old", Bytes: 4 * extent, Mode: pool.Filesystem, Note: "a note"}
	oldRaw = pool.Volume{ID: "old-raw", Bytes: 4 * extent, Mode: pool.Block}
	fresh  = pool.Volume{ID: "new", Bytes: 6 * extent, Mode: pool.Filesystem}
	raw    = pool.Volume{ID: "raw", Bytes: 6 * extent, Mode: pool.Block}
)

func grown(v pool.Volume) pool.Volume {
	v.Bytes += 4 * extent
	return v
}

// calls are what is done to a pool that has the old volumes, and what it has
// afterwards.
var calls = []struct {
	name  string
	do    func(context.Context, *Pool) error
	after []pool.Volume
}{
	{"carve", carve(fresh), []pool.Volume{fresh, old, oldRaw}},
	{"carve raw", carve(raw), []pool.Volume{old, oldRaw, raw}},
	{"grow", grow(old), []pool.Volume{grown(old), oldRaw}},
	{"grow raw", grow(oldRaw), []pool.Volume{old, grown(oldRaw)}},
	{"remove", remove(old), []pool.Volume{oldRaw}},
	{"remove raw", remove(oldRaw), []pool.Volume{old}},
}

func carve(v pool.Volume) func(context.Context, *Pool) error {
	return func(ctx context.Context, p *Pool) error { _, err := p.Carve(ctx, pool.Spec(v)); return err }
}

func grow(v pool.Volume) func(context.Context, *Pool) error {
	return func(ctx context.Context, p *Pool) error { _, err := p.Grow(ctx, v.ID, grown(v).Bytes); return err }
}

func remove(v pool.Volume) func(context.Context, *Pool) error {
	return func(ctx context.Context, p *Pool) error { return p.Remove(ctx, v.ID) }
}

// modes are the ways to make volumes.
var modes = map[string]Options{
	"thick": {VolumeGroup: "vg0"},
	"thin":  {VolumeGroup: "vg0", Thin: &Thin{Pool: "thin0"}},
}

// withOld returns a pool with the old volumes, and a logical volume of its
// people.
func withOld(t *testing.T, o Options) (*Pool, *fake) {
	t.Helper()
	f := newFake()
	p, err := open(t.Context(), o, f)
	for _, v := range []pool.Volume{old, oldRaw} {
		if err == nil {
			err = carve(v)(t.Context(), p)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	f.logical["people"] = &fakeLV{}
	f.logical["people"].Name = "people"
	return p, f
}

// TestFailure makes each step of each call fail, once. What the same process
// sees is what was there before, or all of what was to be, and the call made
// again does its work.
func TestFailure(t *testing.T) {
	for mode, o := range modes {
		for _, call := range calls {
			t.Run(mode+" "+call.name, func(t *testing.T) {
				for fails, last := 1, false; !last; fails++ {
					p, f := withOld(t, o)
					f.dies, f.fails = f.steps+fails, true
					err := call.do(t.Context(), p)
					// A disk that is not trimmed is no failure.
					if last = f.steps < f.dies; last && err != nil {
						t.Errorf("without a failure: %v", err)
					}
					f.dies = 0
					wantEither(t, p, f, fmt.Sprintf("failed at step %d", fails), []pool.Volume{old, oldRaw}, call.after)
					if err := call.do(t.Context(), p); err != nil {
						t.Errorf("failed at step %d, once more: %v", fails, err)
					}
					wantEither(t, p, f, fmt.Sprintf("failed at step %d, once more", fails), call.after)
					wantTidy(t, p, f)
				}
			})
		}
	}
}

// TestCrash kills each call before and after each of its steps, also while the
// next start mends that. What a new process sees is what was there before or
// what was to be, erased where it has to be, with no space lost, and the call
// made again does its work.
func TestCrash(t *testing.T) {
	for mode, o := range modes {
		for _, call := range calls {
			t.Run(mode+" "+call.name, func(t *testing.T) {
				for dies, survived := 1, false; !survived; dies++ {
					for _, after := range []bool{false, true} {
						for again := range 5 { // the step at which the next start dies, 0 for none
							survived = crash(t, o, call.do, call.after, dies, after, again)
						}
					}
				}
			})
		}
	}
}

func crash(t *testing.T, o Options, do func(context.Context, *Pool) error, want []pool.Volume, dies int, after bool, again int) (survived bool) {
	t.Helper()
	when := fmt.Sprintf("dead at step %d (after: %v, again %d)", dies, after, again)
	p, f := withOld(t, o)
	f.dies, f.after = f.steps+dies, after
	survived = do(t.Context(), p) == nil && f.steps < f.dies
	if again > 0 {
		_, _ = open(t.Context(), o, &fake{vg: f.vg, dies: again, after: after}) // its end is what is tried
	}
	f = &fake{vg: f.vg}
	p, err := open(t.Context(), o, f)
	if err != nil {
		t.Fatalf("%s, opening: %v", when, err)
	}
	wantEither(t, p, f, when, []pool.Volume{old, oldRaw}, want)
	wantTidy(t, p, f)
	if err := do(t.Context(), p); err != nil {
		t.Errorf("%s, once more: %v", when, err)
	}
	wantEither(t, p, f, when+", once more", want)
	wantTidy(t, p, f)
	return survived
}

// wantEither fails unless the pool has one of these sets of volumes, all of them
// erased as far as tenants can read them.
func wantEither(t *testing.T, p *Pool, f *fake, when string, sets ...[]pool.Volume) {
	t.Helper()
	got, err := p.Volumes(t.Context())
	if err != nil || !slices.ContainsFunc(sets, func(want []pool.Volume) bool { return slices.Equal(got, want) }) {
		t.Fatalf("%s: the volumes are %v (%v)", when, got, err)
	}
	for _, v := range got {
		if slices.Contains(f.trimmed, string(v.ID)) {
			t.Errorf("%s: %s has lost what it held", when, v.ID)
		}
		extents := f.logical[string(v.ID)].extents
		for i, e := range extents {
			if f.dirty[e] && (v.Mode == pool.Block || i == 0) {
				t.Errorf("%s: extent %d of %s has somebody's bytes", when, i, v.ID)
			}
		}
	}
}

// wantTidy fails when anything is left but the volumes, or a device is not what
// its volume is.
func wantTidy(t *testing.T, p *Pool, f *fake) {
	t.Helper()
	got, err := p.Volumes(t.Context())
	room, roomErr := p.Room(t.Context())
	if err != nil || roomErr != nil {
		t.Fatal(err, roomErr)
	}
	free := room.Total
	for _, v := range got {
		free -= v.Bytes
		if d, ok := f.active[string(v.ID)]; ok && (d.Suspended || d.SizeBytes != v.Bytes) {
			t.Errorf("the device of %+v is %+v", v, d)
		}
	}
	if room.Free != free || room.Total != 64*extent {
		t.Errorf("the room is %+v, with volumes %v", room, got)
	}
	if len(f.logical) != len(got)+2 {
		t.Errorf("there are logical volumes that are nobody's: %v", f.logical)
	}
	for _, lv := range f.logical {
		if slices.ContainsFunc(lv.Tags, func(tag string) bool { return strings.HasSuffix(tag, "/new") || strings.HasSuffix(tag, "/gone") }) {
			t.Errorf("%s has the tags %v", lv.Name, lv.Tags)
		}
	}
}
