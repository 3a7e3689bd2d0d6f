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

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/pool"
)

// lostFound is the filesystem's own.
const lostFound = "lost+found"

// stranger reports whether an entry of the folder is not Berth's. A volume gets
// its name only after its promise is on the disk, so that what has none was never
// one; nor is what has the promise of another name: a copy. A promise that
// cannot be read may be a volume's, and is an error. What is being made or removed
// bears one of two names, and has nothing in it but what a shelf puts there, or
// its promise.
func (s *Shelf) stranger(name string) (bool, error) {
	id, rest := name, false
	for _, prefix := range []string{half, leaving} {
		if after, ok := strings.CutPrefix(name, prefix); ok {
			id, rest = after, true
		}
	}
	if pool.ID(id).Check() != nil {
		return true, nil
	}
	promised, err := s.promised(name)
	if rest {
		if promised == pool.ID(id) {
			return false, nil
		}
		names, err := s.folder.Names(name)
		if errors.Is(err, unix.ENOTDIR) {
			return true, nil
		}
		return slices.ContainsFunc(names, func(n string) bool {
			return !slices.Contains([]string{Data, dataFile, specFile, specFile + ".tmp"}, n)
		}), err
	}
	return promised != pool.ID(id) && err == nil, err
}

// promised is the ID of the promise in a directory, "" for none.
func (s *Shelf) promised(dir string) (pool.ID, error) {
	data, err := s.folder.ReadFile(dir + "/" + specFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return "", nil
	}
	v := pool.Volume{}
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err == nil {
		err = pool.CheckSpec(pool.Spec(v))
	}
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", s.folder.Path(dir+"/"+specFile), err)
	}
	return v.ID, nil
}

// meet takes in an entry that is not Berth's: its bytes are nobody's to promise.
func (s *Shelf) meet(ctx context.Context, name string) error {
	if name == lostFound {
		return nil
	}
	bytes, err := s.folder.Bytes(ctx, name)
	s.strangers[name] = bytes
	return err
}

// Strangers is pool.Host's.
func (s *Shelf) Strangers() []pool.Stranger {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []pool.Stranger
	for _, name := range slices.Sorted(maps.Keys(s.strangers)) {
		all = append(all, pool.Stranger{Name: name, Bytes: s.strangers[name]})
	}
	return all
}

// vacant is an error when something that is not a volume has the place of one
// that is to be made.
func (s *Shelf) vacant(id pool.ID) error {
	err := s.folder.With(string(id), func(int) error { return nil })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.New("it is not Berth's, and is left alone; move it elsewhere")
	}
	return fmt.Errorf("%w: something is at %s already: %w", pool.ErrDiffers, s.folder.Path(string(id)), err)
}
