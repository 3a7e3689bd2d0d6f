// Package xfs is the pool whose volumes are directories of an XFS, or of an
// ext4, each held to its size by a project quota.
//
// The limit is for what programs do, not for what an attacker does: the owner of
// a file may give it another project where containers have no user namespace of
// their own, as the kernel allows that (fs/file_attr.c, fileattr_set_prepare).
package xfs

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

// Open opens the pool in a folder of a filesystem that is mounted with project
// quotas.
func Open(ctx context.Context, f *host.Folder, reserve pool.Reserve) (*Pool, error) {
	enforced, err := f.EnforcesProjects()
	if err != nil {
		return nil, err
	}
	if !enforced {
		return nil, fmt.Errorf("%q %w of kind xfs: project quotas are not on; mount an XFS, or an ext4 made with -O quota,project, with the option prjquota", f.Path("."), pool.ErrUnfit)
	}
	s, err := shelf.Open(ctx, f, projects{}, reserve, nil)
	return &Pool{s}, err
}

// Features is pool.Pool's.
func (*Pool) Features() pool.Features { return pool.Features{Enforced: true} }

// Used is pool.Meter's.
func (p *Pool) Used(_ context.Context, id pool.ID) (pool.Usage, error) {
	return p.Measure(id, func(f *host.Folder, name string) (pool.Usage, error) {
		project, err := f.ProjectOf(name)
		if err != nil {
			return pool.Usage{}, err
		}
		bytes, inodes, err := f.UsedByProject(project)
		return pool.Usage{Bytes: bytes, Inodes: inodes}, err
	})
}

type projects struct{}

// firstProject is where Berth's projects begin, out of the way of those that
// people number by hand.
const firstProject host.Project = 0x42000000

// Make takes a project that no directory of the pool has, nor anything else.
func (projects) Make(f *host.Folder, name string) error {
	if err := f.Mkdir(name, shelf.NewMode); err != nil {
		return err
	}
	taken, err := all(f)
	if err != nil {
		return err
	}
	for p := firstProject; ; p++ {
		if taken[p] {
			continue
		}
		if free, err := f.ProjectFree(p); err != nil {
			return err
		} else if free {
			return f.SetProject(name, p)
		}
	}
}

// all are the projects of the pool's directories, whole or not.
func all(f *host.Folder) (map[host.Project]bool, error) {
	names, err := f.Names(".")
	if err != nil {
		return nil, err
	}
	taken := map[host.Project]bool{}
	for _, name := range names {
		p, err := f.ProjectOf(name + "/" + shelf.Data)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue // a raw volume, or not a volume
		}
		if err != nil {
			return nil, err
		}
		taken[p] = true
	}
	return taken, nil
}

func (projects) Limit(f *host.Folder, name string, bytes int64) error {
	p, err := f.ProjectOf(name)
	if err != nil {
		return err
	}
	if p < firstProject {
		return fmt.Errorf("limiting %q: it has the project %d, which is not one of Berth's", f.Path(name), p)
	}
	return f.LimitProject(p, bytes)
}

func (projects) Total(f *host.Folder) (int64, error) { return shelf.Usable(f) }

// Destroy empties the directory, whose space is then free, and takes its limit
// off before the directory, which has the number, goes.
func (projects) Destroy(ctx context.Context, f *host.Folder, name string) error {
	p, err := f.ProjectOf(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := shelf.Empty(ctx, f, name); err != nil {
		return err
	}
	if p >= firstProject {
		if err := f.LimitProject(p, 0); err != nil {
			return err
		}
	}
	return f.Remove(name)
}
