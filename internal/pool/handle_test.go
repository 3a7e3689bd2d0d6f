package pool_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/pool"
)

func TestHandle(t *testing.T) {
	long := strings.Repeat("a", 63)
	h := pool.HandleOf(strings.Repeat("n", 253), strings.Repeat("p", 32), pool.ID(long))
	if got, err := pool.ParseHandle(h.String()); err != nil || got != h {
		t.Errorf("%s is read as %+v (%v)", h, got, err)
	}
	if n := len(h.String()); n > 128 {
		t.Errorf("a handle has %d bytes", n)
	}
	if h := pool.HandleOf("one", "p", "v"); !h.On("one") || h.On("two") || h == pool.HandleOf("two", "p", "v") {
		t.Errorf("%s does not tell its node", h)
	}
	const n = "0123456789ab/"
	if _, err := pool.ParseHandle(n + "p/v"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		"", "v", "/", n, n + "p", n + "p/", n + "/v", "/p/v", n + "p/..", n + "../v", n + "p/v/w", n + "p/../v", n + "p/V", n + "P/v", n + "p/" + long + "a", n + "p/v\x00",
		"../../etc", "n/p/v", "0123456789AB/p/v", "0123456789abc/p/v", "0123456789ab/p/v\n",
	} {
		if h, err := pool.ParseHandle(bad); !errors.Is(err, pool.ErrInvalid) {
			t.Errorf("%q is read as %+v (%v); want %v", bad, h, err, pool.ErrInvalid)
		}
	}
}
