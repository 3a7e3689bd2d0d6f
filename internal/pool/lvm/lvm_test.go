package lvm

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// a report that a test changes, and what may fail.
type reported struct {
	*fake
	change   func(*host.VolumeGroupReport)
	err      error
	activate error
}

func (r reported) Report(ctx context.Context, live bool) (host.VolumeGroupReport, error) {
	report, err := r.fake.Report(ctx, live)
	if r.change != nil {
		r.change(&report)
	}
	return report, errors.Join(err, r.err)
}

func (r reported) Activate(ctx context.Context, w host.Which) error {
	return errors.Join(r.activate, r.fake.Activate(ctx, w))
}

// TestUnfit: what cannot be a pool is refused with the reason and what to do.
func TestUnfit(t *testing.T) {
	thin := &Thin{Pool: "thin0"}
	for want, test := range map[string]struct {
		o Options
		r reported
	}{
		"vgcreate":        {r: reported{err: host.ErrNoVolumeGroup}},
		"/dev/mapper":     {r: reported{err: host.ErrNoMapper}},
		"vgimport":        {r: reported{change: func(r *host.VolumeGroupReport) { r.Exported = true }}},
		"shared":          {r: reported{change: func(r *host.VolumeGroupReport) { r.Shared = true }}},
		"removemissing":   {r: reported{change: func(r *host.VolumeGroupReport) { r.Missing = 1 }}},
		"vgextend":        {o: Options{Stripes: 2}},
		"no thin pool":    {o: Options{Thin: &Thin{Pool: "none"}}},
		"not a thin pool": {o: Options{Thin: &Thin{Pool: "people"}}},
		"--zero y":        {o: Options{Thin: thin}, r: reported{change: func(r *host.VolumeGroupReport) { r.Logical[1].ThinPool = &host.ThinPool{} }}},
		"dm_thin_pool":    {o: Options{Thin: thin}, r: reported{activate: host.ErrNoThin}},
	} {
		test.o.VolumeGroup, test.r.fake = "vg0", newFake()
		test.r.logical["people"] = &fakeLV{LogicalVolume: host.LogicalVolume{Name: "people"}}
		_, err := open(t.Context(), test.o, test.r)
		if !errors.Is(err, pool.ErrUnfit) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %v, with %q", err, pool.ErrUnfit, want)
		}
	}
	if err := unfit(Options{}, host.ErrNoLVM); !strings.Contains(err.Error(), "lvm2") {
		t.Error(err)
	}
	if _, err := open(t.Context(), Options{}, reported{fake: newFake(), err: context.Canceled}); errors.Is(err, pool.ErrUnfit) {
		t.Errorf("an agent that ends says %v", err)
	}
	for _, o := range []Options{{}, {VolumeGroup: "vg0", Stripes: -1}, {VolumeGroup: "vg0", Thin: &Thin{}}, {VolumeGroup: "vg0", Stripes: 2, Thin: thin},
		{VolumeGroup: "vg0", Thin: &Thin{Pool: "a", Overprovision: 0.5}}, {VolumeGroup: "vg0", Thin: &Thin{Pool: "a", MetadataLowWater: 100}}} {
		if _, err := Open(t.Context(), o); !errors.Is(err, pool.ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func opened(t *testing.T, o Options, f *fake) *Pool {
	t.Helper()
	o.VolumeGroup = "vg0"
	p, err := open(t.Context(), o, f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantRoom is in extents.
func wantRoom(t *testing.T, p *Pool, total, free, largest int64) {
	t.Helper()
	got, err := p.Room(t.Context())
	if want := (pool.Room{Total: total * extent, Free: free * extent, Largest: largest * extent}); err != nil || got != want {
		t.Errorf("the room is %+v (%v), want %+v", got, err, want)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("the error is %v; want %v", err, want)
	}
}

// TestThinPromises: a thin pool promises as often what it has as it was told,
// its people's volumes included, and none while its metadata run low.
func TestThinPromises(t *testing.T) {
	f := newFake()
	f.logical["people"] = &fakeLV{LogicalVolume: host.LogicalVolume{Name: "people", Pool: "thin0", Bytes: 10 * extent}}
	p := opened(t, Options{Thin: &Thin{Pool: "thin0", Overprovision: 1.5, MetadataLowWater: 20}, Reserve: pool.Reserve{Bytes: extent + 1}}, f)
	if p.Features() != (pool.Features{Enforced: true, Device: true}) {
		t.Errorf("%+v", p.Features())
	}
	wantRoom(t, p, 84, 84, 84)
	wantErr(t, carve(pool.Volume{ID: "a", Bytes: 84*extent + 1, Mode: pool.Block})(t.Context(), p), pool.ErrNoRoom)
	if err := carve(pool.Volume{ID: "a", Bytes: 80 * extent, Mode: pool.Block})(t.Context(), p); err != nil {
		t.Error(err)
	}
	wantRoom(t, p, 84, 4, 4)
	f.thin.MetadataUsed = 81
	wantRoom(t, p, 84, 4, 0)
	err := carve(pool.Volume{ID: "b", Bytes: extent, Mode: pool.Block})(t.Context(), p)
	if wantErr(t, err, pool.ErrNoRoom); !strings.Contains(err.Error(), "metadata") {
		t.Error(err)
	}
	if err := p.Close(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if err := p.Remove(t.Context(), "a"); err != nil || !slices.Equal(f.trimmed, []string{"a"}) {
		t.Errorf("%v; trimmed: %v", err, f.trimmed)
	}
}

// TestGroups: stripes have the room that is on all disks of a set, whatever
// else is on them.
func TestGroups(t *testing.T) {
	five := func(r *host.VolumeGroupReport) {
		r.Physical = nil
		for i, free := range []int64{7, 10, 9, 3, 50} {
			r.Physical = append(r.Physical, host.PhysicalVolume{Name: string(rune('a' + i)), UUID: string(rune('a' + i)), Extents: 60 - int64(i), Free: free, Allocatable: true})
		}
		r.Physical = append(r.Physical, host.PhysicalVolume{Name: "x", Extents: 100, Free: 100})
	}
	p, err := open(t.Context(), Options{Stripes: 2}, reported{fake: newFake(), change: five})
	if err != nil {
		t.Fatal(err)
	}
	wantRoom(t, p, 20, 20, 14)
	r, err := p.hands.Report(t.Context(), true)
	if g := p.roomiest(r); err != nil || !slices.Equal(g.on, []string{"a", "b"}) {
		t.Errorf("%+v (%v)", g, err)
	}
	p.o.Stripes = 1
	wantRoom(t, p, 79, 79, 79)
}

// TestPeoplesVolumes: what is not Berth's is not listed, opened or removed, and
// its name is nobody else's.
func TestPeoplesVolumes(t *testing.T) {
	f := newFake()
	p := opened(t, Options{}, f)
	f.logical["a"] = &fakeLV{LogicalVolume: host.LogicalVolume{Name: "a", UUID: "u", Bytes: extent, Tags: []string{"mine", ours + "2"}}}
	if all, err := p.Volumes(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("%v (%v)", all, err)
	}
	_, err := p.Open(t.Context(), "a")
	wantErr(t, err, pool.ErrNotFound)
	_, err = p.Grow(t.Context(), "a", 2*extent)
	wantErr(t, err, pool.ErrNotFound)
	wantErr(t, carve(pool.Volume{ID: "a", Bytes: extent, Mode: pool.Block})(t.Context(), p), pool.ErrDiffers)
	if err := errors.Join(p.Close(t.Context(), "a"), p.Remove(t.Context(), "a")); err != nil || f.logical["a"] == nil {
		t.Errorf("%v, and it is %v", err, f.logical["a"])
	}
	// One that was Berth's a moment ago, and that a person has taken over.
	v := pool.Volume{ID: "b", Bytes: extent, Mode: pool.Block}
	if err := carve(v)(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	f.logical["b"].Tags = nil
	if err := p.Remove(t.Context(), "b"); err != nil || f.logical["b"] == nil {
		t.Errorf("%v, and it is %v", err, f.logical["b"])
	}
}

// TestDamagedTags: a volume whose tags cannot be read is not taken for one that
// is not there.
func TestDamagedTags(t *testing.T) {
	for _, damaged := range [][]string{{ours}, {ours, modeIs + "x"}, {ours, modeIs + "Block", noteIs + "="}} {
		f := newFake()
		f.logical["a"] = &fakeLV{LogicalVolume: host.LogicalVolume{Name: "a", Bytes: extent, Tags: damaged}}
		if _, err := open(t.Context(), Options{}, f); err == nil || errors.Is(err, pool.ErrUnfit) || !strings.Contains(err.Error(), "/a has Berth's tag") {
			t.Errorf("%v: %v", damaged, err)
		}
	}
}

// TestNames: a volume that LVM has no name for is refused before anything is
// made.
func TestNames(t *testing.T) {
	p := opened(t, Options{}, newFake())
	for _, id := range []pool.ID{"snapshot-1", "pvmove0", pool.ID("a" + strings.Repeat("-", 61) + "a")} {
		wantErr(t, carve(pool.Volume{ID: id, Bytes: extent, Mode: pool.Block})(t.Context(), p), pool.ErrInvalid)
	}
	if err := carve(pool.Volume{ID: pool.ID(strings.Repeat("a", 63)), Bytes: extent, Mode: pool.Block})(t.Context(), p); err != nil {
		t.Error(err)
	}
}

// TestBusy: what is in use is neither closed nor removed.
func TestBusy(t *testing.T) {
	for mode, o := range modes {
		p, f := withOld(t, o)
		f.busy["old"] = true
		wantErr(t, p.Close(t.Context(), "old"), pool.ErrBusy)
		wantErr(t, p.Remove(t.Context(), "old"), pool.ErrBusy)
		if d, ok := f.active["old"]; !ok || d.SizeBytes != old.Bytes || len(f.trimmed) > 0 {
			t.Errorf("%s: the device is %+v, trimmed: %v", mode, d, f.trimmed)
		}
	}
}

// TestAnotherVolumeOfTheName: what was seen once does not stand for a volume that
// somebody made in its place.
func TestAnotherVolumeOfTheName(t *testing.T) {
	p, f := withOld(t, Options{VolumeGroup: "vg0"})
	if _, err := p.Volumes(t.Context()); err != nil { // the UUID is seen
		t.Fatal(err)
	}
	f.logical["old"].UUID = "another"
	f.active["old"] = disk.Mapped{Device: "old", UUID: "another"}
	if at, err := p.Open(t.Context(), "old"); err != nil || at.Device != "/dev/old" {
		t.Errorf("%v (%v)", at, err)
	}
	if p.seen["old"].uuid != "another" {
		t.Errorf("it is taken for %+v", p.seen["old"])
	}
}
