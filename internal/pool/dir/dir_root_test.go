//go:build root

package dir_test

import (
	"errors"
	"testing"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/pool/dir"
	"github.com/berth-storage/berth/internal/pool/pooltest"
)

func open(t *testing.T, path string, unenforced bool) (pool.Pool, error) {
	f, err := host.OpenFolder(path, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return dir.Open(t.Context(), f, unenforced, pool.Reserve{})
}

func TestRootDir(t *testing.T) {
	pooltest.Run(t, func(t *testing.T) pooltest.Disk {
		path := t.TempDir()
		return pooltest.Disk{Open: func(t *testing.T) pool.Pool {
			p, err := open(t, path, true)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}}
	})
}

// TestRootDirSaysThatItLimitsNothing: nobody gets a pool without limits unasked.
func TestRootDirSaysThatItLimitsNothing(t *testing.T) {
	if _, err := open(t, t.TempDir(), false); !errors.Is(err, pool.ErrUnfit) {
		t.Errorf("the error is %v; want %v", err, pool.ErrUnfit)
	}
}
