package pool

import (
	"math"
	"testing"
)

func TestReserveOf(t *testing.T) {
	for _, c := range []struct {
		r           Reserve
		total, want int64
	}{
		{Reserve{}, 1000, 0},
		{Reserve{Bytes: 10}, 1000, 10},
		{Reserve{Bytes: 2000}, 1000, 1000},
		{Reserve{Percent: 5}, 1000, 50},
		{Reserve{Percent: 5}, 1019, 50},
		{Reserve{Percent: 50, Bytes: 600}, 1000, 1000},
		{Reserve{Percent: 99}, math.MaxInt64, math.MaxInt64/100*99 + math.MaxInt64%100*99/100},
		{Reserve{Bytes: math.MaxInt64, Percent: 99}, math.MaxInt64, math.MaxInt64},
		{Reserve{Bytes: 10, Percent: 5}, 0, 0},
	} {
		if got := c.r.Of(c.total); got != c.want {
			t.Errorf("%+v of %d is %d, not %d", c.r, c.total, got, c.want)
		}
	}
}
