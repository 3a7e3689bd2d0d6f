package shelf

import (
	"errors"
	"testing"

	"github.com/berth-storage/berth/internal/pool"
)

// TestReserve: what is kept back is promised to nobody, neither by Carve nor by
// Grow, and one that is set too late takes nothing away.
func TestReserve(t *testing.T) {
	s, _, _ := withOld(t) // 4 of 64 units are promised
	s.SetReserve(pool.Reserve{Bytes: 10*Unit - 1})
	want := func(total, free int64) {
		t.Helper()
		r, err := s.Room(t.Context())
		if want := (pool.Room{Total: total, Free: free, Largest: free}); err != nil || r != want {
			t.Errorf("the room is %+v (%v), not %+v", r, err, want)
		}
	}
	want(54*Unit+1, 50*Unit)
	_, carve := s.Carve(t.Context(), pool.Spec{ID: "new", Bytes: 51 * Unit, Mode: pool.Filesystem})
	_, grow := s.Grow(t.Context(), "old", 55*Unit)
	if !errors.Is(carve, pool.ErrNoRoom) || !errors.Is(grow, pool.ErrNoRoom) {
		t.Errorf("out of the reserve: carve says %v, grow %v", carve, grow)
	}
	if _, err := s.Grow(t.Context(), "old", 54*Unit); err != nil {
		t.Error(err)
	}
	want(54*Unit+1, 0)
	s.SetReserve(pool.Reserve{Percent: 50})
	want(32*Unit, 0)
	if all, err := s.Volumes(t.Context()); err != nil || len(all) != 1 || all[0].Bytes != 54*Unit {
		t.Errorf("the volumes are %v (%v)", all, err)
	}
}
