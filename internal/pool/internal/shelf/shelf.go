// Package shelf is what the pools whose volumes lie in one filesystem have in
// common: a directory a volume, a record of its promised size beside it, moves
// that make it appear and disappear at once, and files with loop devices for
// raw volumes. What keeps a volume within its size is its Kind's.
//
// What it keeps in memory is what it read when it was opened, and what it has
// changed since: one process has a shelf at a time.
package shelf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// What a shelf is made of, beneath its folder. A volume is whole when its
// directory has its own name.
const (
	half     = ".new-"     // before the name of a volume that is being made
	leaving  = ".gone-"    // before the name of one that is being removed
	specFile = "spec.json" // in a volume's directory: what was promised
	dataFile = "data.img"  // what the device is over, of mode Block
)

// Data is the name, in a volume's directory, of what a pod gets of a volume of
// mode Filesystem.
const Data = "data"

// A Kind makes directories that cannot outgrow their size.
type Kind interface {
	// Make makes an empty directory. One that is there already was made by a
	// call that a crash stopped, and is empty.
	Make(f *host.Folder, name string) error
	// Limit sets how many bytes the directory can hold. The same may be set
	// again; a smaller size is set only right after a larger one could not be.
	Limit(f *host.Folder, name string, bytes int64) error
	// Destroy removes the directory with all that is in it, and returns once its
	// space can be had. Part of it, or all, may be gone already.
	Destroy(ctx context.Context, f *host.Folder, name string) error
	// Total is how many bytes the filesystem can promise.
	Total(f *host.Folder) (int64, error)
}

// Hands is what a shelf does to the machine; *host.Folder, and the functions on
// loop devices of package host. A test makes each of them fail.
type Hands interface {
	Mkdir(name string, mode fs.FileMode) error
	WriteFile(name string, data []byte) error
	Allocate(name string, bytes int64) error
	Rename(from, to string) error
	Remove(name string) error
}

// A Shelf is an open pool of directories. It has all of pool.Pool's methods but
// Features.
type Shelf struct {
	folder *host.Folder
	hands  Hands
	kind   Kind

	mu      sync.Mutex // guards the rest
	reserve pool.Reserve
	volumes map[pool.ID]pool.Volume
	aside   map[string]int64    // bytes of directories that are being made or erased, by name
	turns   map[pool.ID]*turnOf // of those who change one volume
	// strangers are the bytes of what is not Berth's, by name, as it was when the
	// shelf was opened.
	strangers map[string]int64
}

// turnOf is a lock, kept while somebody has or wants it.
type turnOf struct {
	sync.Mutex
	users int
}

// Open opens the shelf in a folder, which is its own from then on, unless Open
// fails: it finishes what was being removed, undoes what was being made, and
// sets all limits again, as a crash may have come between a promise and its
// limit. What others have put there is left alone, and counts as used.
func Open(ctx context.Context, f *host.Folder, k Kind, reserve pool.Reserve, wrap func(Hands) Hands) (*Shelf, error) {
	s := &Shelf{folder: f, hands: f, kind: k, reserve: reserve, volumes: map[pool.ID]pool.Volume{}, aside: map[string]int64{}, turns: map[pool.ID]*turnOf{}, strangers: map[string]int64{}}
	if wrap != nil {
		s.hands = wrap(f)
	}
	names, err := f.Names(".")
	if err != nil {
		return nil, fmt.Errorf("opening pool %q: %w", f.Path("."), err)
	}
	for _, name := range names {
		strange, err := s.stranger(name)
		switch {
		case err != nil:
		case strange:
			err = s.meet(ctx, name)
		case strings.HasPrefix(name, half) || strings.HasPrefix(name, leaving):
			err = s.destroy(ctx, name)
		default:
			err = s.restore(name)
		}
		if err != nil {
			return nil, fmt.Errorf("opening pool %q: %w", f.Path("."), err)
		}
	}
	return s, nil
}

// Shut closes the folder. The volumes stay as they are, open ones too; every
// later call fails.
func (s *Shelf) Shut() error { return s.folder.Close() }

// SetReserve changes what is kept back from now on. Volumes that were promised
// more than is left then keep it.
func (s *Shelf) SetReserve(r pool.Reserve) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserve = r
}

func (s *Shelf) restore(name string) error {
	v, err := s.read(pool.ID(name))
	if err != nil {
		return err
	}
	s.volumes[v.ID] = v
	return s.hold(v)
}

// hold makes a volume keep to its size, and have it.
func (s *Shelf) hold(v pool.Volume) error {
	if v.Mode == pool.Block {
		file := string(v.ID) + "/" + dataFile
		if err := s.hands.Allocate(file, v.Bytes); err != nil {
			return err
		}
		return host.GrowLoop(s.folder.Path(file))
	}
	return s.kind.Limit(s.folder, string(v.ID)+"/"+Data, v.Bytes)
}

// read reads a volume's promise.
func (s *Shelf) read(id pool.ID) (pool.Volume, error) {
	name := string(id) + "/" + specFile
	data, err := s.folder.ReadFile(name)
	v := pool.Volume{}
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err == nil && (v.ID != id || pool.CheckSpec(pool.Spec(v)) != nil) {
		err = errors.New("it is not a record of this volume")
	}
	if err != nil {
		return pool.Volume{}, fmt.Errorf("reading %s: %w", s.folder.Path(name), err)
	}
	return v, nil
}

// take begins a change of one volume, which is no other's until done is called,
// and returns the volume, or pool.ErrNotFound.
func (s *Shelf) take(id pool.ID) (v pool.Volume, done func(), err error) {
	if err := id.Check(); err != nil {
		return v, nil, err
	}
	s.mu.Lock()
	t := s.turns[id]
	if t == nil {
		t = &turnOf{}
		s.turns[id] = t
	}
	t.users++
	s.mu.Unlock()
	t.Lock()
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.volumes[id]
	if !ok {
		err = fmt.Errorf("%w: %s", pool.ErrNotFound, id)
	}
	return v, func() {
		t.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(s.turns, id)
		}
	}, err
}

// Volumes is pool.Pool's.
func (s *Shelf) Volumes(context.Context) ([]pool.Volume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.volumes), func(a, b pool.Volume) int { return strings.Compare(string(a.ID), string(b.ID)) }), nil
}

// Measure calls use with the name of the directory of a volume of mode
// Filesystem.
func (s *Shelf) Measure(id pool.ID, use func(f *host.Folder, name string) (pool.Usage, error)) (pool.Usage, error) {
	if err := id.Check(); err != nil {
		return pool.Usage{}, err
	}
	s.mu.Lock()
	v, ok := s.volumes[id]
	s.mu.Unlock()
	if !ok {
		return pool.Usage{}, fmt.Errorf("%w: %s", pool.ErrNotFound, id)
	}
	if v.Mode != pool.Filesystem {
		return pool.Usage{}, fmt.Errorf("%w: %s is a raw device, of which nobody knows what is used", pool.ErrInvalid, id)
	}
	return use(s.folder, string(id)+"/"+Data)
}

// Room is pool.Pool's.
func (s *Shelf) Room(context.Context) (pool.Room, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room()
}

func (s *Shelf) room() (pool.Room, error) {
	total, err := s.kind.Total(s.folder)
	if err != nil {
		return pool.Room{}, fmt.Errorf("measuring pool %q: %w", s.folder.Path("."), err)
	}
	total -= s.reserve.Of(total)
	free := total
	for _, v := range s.volumes {
		free -= v.Bytes
	}
	for _, bytes := range s.aside {
		free -= bytes
	}
	for _, bytes := range s.strangers {
		free -= bytes
	}
	free = max(free, 0) / Unit * Unit
	return pool.Room{Total: total, Free: free, Largest: free}, nil
}

// Usable is what a filesystem of its own can promise to volumes: a tenth is left
// for its metadata, which btrfs keeps twice, and for what it needs free to work
// well.
func Usable(f *host.Folder) (bytes int64, err error) {
	err = f.With(".", func(fd int) error {
		var s unix.Statfs_t
		if err := unix.Fstatfs(fd, &s); err != nil {
			return err
		}
		bytes = int64(s.Blocks) * s.Bsize / 10 * 9
		return nil
	})
	return bytes, err
}
