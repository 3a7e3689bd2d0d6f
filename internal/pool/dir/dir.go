// Package dir is the pool whose volumes are plain directories of any
// filesystem. Nothing keeps a volume within its size, which is why it opens only
// for somebody who says that this is known: it is for trying Berth out.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/pool/internal/shelf"
)

// A Pool is a pool.Pool.
type Pool struct{ *shelf.Shelf }

// Open opens the pool in a folder of an absolute path.
func Open(ctx context.Context, f *host.Folder, unenforced bool, reserve pool.Reserve) (*Pool, error) {
	if !unenforced {
		return nil, fmt.Errorf("the directory %q %w: nothing limits the size of a directory; say `unenforced: true` if that is accepted", f.Path("."), pool.ErrUnfit)
	}
	s, err := shelf.Open(ctx, f, plain{}, reserve, nil)
	return &Pool{s}, err
}

// Features is pool.Pool's.
func (*Pool) Features() pool.Features { return pool.Features{} }

type plain struct{}

func (plain) Make(f *host.Folder, name string) error { return f.Mkdir(name, shelf.NewMode) }

func (plain) Limit(*host.Folder, string, int64) error { return nil }

func (plain) Total(f *host.Folder) (total int64, err error) {
	err = f.With(".", func(fd int) error {
		var s unix.Statfs_t
		if err := unix.Fstatfs(fd, &s); err != nil {
			return err
		}
		total = int64(s.Blocks) * s.Frsize
		return nil
	})
	return total, err
}

func (plain) Destroy(ctx context.Context, f *host.Folder, name string) error {
	if err := shelf.Empty(ctx, f, name); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return f.Remove(name)
}
