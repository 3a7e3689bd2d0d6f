package shelf

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// Unit is what sizes are rounded up to, in bytes: the block size of the
// filesystems, and the sector size of the loop devices.
const Unit = 4096

func roundUp(bytes int64) (int64, error) {
	if bytes > math.MaxInt64-Unit {
		return 0, fmt.Errorf("%w: %d bytes", pool.ErrNoRoom, bytes)
	}
	return (bytes + Unit - 1) / Unit * Unit, nil
}

// Carve is pool.Pool's.
func (s *Shelf) Carve(ctx context.Context, want pool.Spec) (pool.Volume, error) {
	if err := pool.CheckSpec(want); err != nil {
		return pool.Volume{}, err
	}
	bytes, err := roundUp(want.Bytes)
	if err != nil {
		return pool.Volume{}, err
	}
	v := pool.Volume{ID: want.ID, Bytes: bytes, Mode: want.Mode, Note: want.Note}
	have, done, err := s.take(v.ID)
	if done == nil {
		return pool.Volume{}, err
	}
	defer done()
	switch {
	case err == nil && have.Bytes == v.Bytes && have.Mode == v.Mode:
		return have, nil
	case err == nil:
		return pool.Volume{}, fmt.Errorf("%w: %s is %s of %d bytes, and %s of %d bytes was asked for", pool.ErrDiffers, v.ID, have.Mode, have.Bytes, v.Mode, v.Bytes)
	}
	if err := s.vacant(v.ID); err != nil {
		return pool.Volume{}, err
	}
	temp := half + string(v.ID)
	if err := s.setAside(temp, v.Bytes); err != nil {
		return pool.Volume{}, err
	}
	err = s.make(ctx, temp, v)
	whole := err == nil
	if !whole { // it may have its name, and only that could not be made to last
		_, missing := s.read(v.ID)
		whole = missing == nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.aside, temp)
	if whole {
		s.volumes[v.ID] = v
	}
	if err != nil {
		return pool.Volume{}, fmt.Errorf("carving %s: %w", v.ID, err)
	}
	return v, nil
}

// setAside keeps room for a directory that is about to be made. So those that are
// made at once go together into one commit of their filesystem, and do not
// promise the same room.
func (s *Shelf) setAside(temp string, bytes int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fits(bytes); err != nil {
		return err
	}
	s.aside[temp] = bytes
	return nil
}

// fits is pool.ErrNoRoom unless the pool can promise that many bytes more. The
// caller holds mu.
func (s *Shelf) fits(bytes int64) error {
	room, err := s.room()
	if err == nil && bytes > room.Free {
		err = fmt.Errorf("%w: %d bytes were asked for, %d are free", pool.ErrNoRoom, bytes, room.Free)
	}
	return err
}

// make makes a volume beside its place, and then moves it there: what has the
// name is whole.
func (s *Shelf) make(ctx context.Context, temp string, v pool.Volume) (err error) {
	if err := s.destroy(ctx, temp); err != nil { // of a call that failed
		return err
	}
	defer func() {
		if err != nil && ctx.Err() == nil {
			err = errors.Join(err, s.destroy(ctx, temp))
		}
	}()
	if err := s.hands.Mkdir(temp, 0o700); err != nil {
		return err
	}
	if v.Mode == pool.Block {
		err = s.hands.Allocate(temp+"/"+dataFile, v.Bytes)
	} else if err = s.kind.Make(s.folder, temp+"/"+Data); err == nil {
		err = s.kind.Limit(s.folder, temp+"/"+Data, v.Bytes)
	}
	if err != nil {
		return err
	}
	if err := s.promise(temp, v); err != nil {
		return err
	}
	return s.hands.Rename(temp, string(v.ID))
}

// promise writes down what a volume is to have.
func (s *Shelf) promise(dir string, v pool.Volume) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.hands.WriteFile(dir+"/"+specFile, append(data, '\n'))
}

// Grow is pool.Pool's. The promise comes first, so that the space is nobody
// else's when the limit is raised.
func (s *Shelf) Grow(_ context.Context, id pool.ID, bytes int64) (pool.Volume, error) {
	bytes, err := roundUp(bytes)
	if err != nil {
		return pool.Volume{}, err
	}
	before, done, err := s.take(id)
	if done == nil {
		return pool.Volume{}, err
	}
	defer done()
	if err != nil {
		return pool.Volume{}, err
	}
	v := before
	if bytes > v.Bytes {
		if v.Bytes, err = bytes, s.regrow(before, bytes); err != nil {
			return before, err
		}
		if err := s.promise(string(id), v); err != nil {
			return before, errors.Join(fmt.Errorf("growing %s: %w", id, err), s.shrink(before))
		}
	}
	if err := s.hold(v); err != nil {
		if v.Bytes > before.Bytes {
			if v.Mode == pool.Filesystem { // it may have been raised all the same
				err = errors.Join(err, s.hold(before))
			}
			err = errors.Join(err, s.shrink(before))
		}
		return before, fmt.Errorf("growing %s: %w", id, err)
	}
	return v, nil
}

// regrow promises a volume more, in memory.
func (s *Shelf) regrow(v pool.Volume, bytes int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fits(bytes - v.Bytes); err != nil {
		return err
	}
	v.Bytes = bytes
	s.volumes[v.ID] = v
	return nil
}

// shrink takes back a promise that was not kept. One that cannot be taken back
// on the disk stays in memory, too, as the next process will read it there.
func (s *Shelf) shrink(v pool.Volume) error {
	if err := s.promise(string(v.ID), v); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.volumes[v.ID] = v
	return nil
}

// Open is pool.Pool's.
func (s *Shelf) Open(_ context.Context, id pool.ID) (pool.Place, error) {
	v, done, err := s.take(id)
	if done == nil {
		return pool.Place{}, err
	}
	defer done()
	if err != nil {
		return pool.Place{}, err
	}
	if v.Mode == pool.Filesystem {
		return pool.Place{Dir: s.folder.Path(string(id) + "/" + Data)}, nil
	}
	device, err := host.AttachLoop(s.folder.Path(string(id) + "/" + dataFile))
	return pool.Place{Device: device}, err
}

// Close is pool.Pool's.
func (s *Shelf) Close(_ context.Context, id pool.ID) error {
	v, done, err := s.take(id)
	if done == nil {
		return err
	}
	defer done()
	if err != nil || v.Mode == pool.Filesystem {
		return nil // it is not there, or has nothing to close
	}
	return detach(s.folder.Path(string(id) + "/" + dataFile))
}

func detach(file string) error {
	err := host.DetachLoop(file)
	if errors.Is(err, host.ErrBusy) {
		err = fmt.Errorf("%w: %w", pool.ErrBusy, err)
	}
	return err
}

// Remove is pool.Pool's. The volume's name is gone at once; its promise is kept
// until its bytes are gone too, which may take long and holds up no other.
func (s *Shelf) Remove(ctx context.Context, id pool.ID) error {
	v, done, err := s.take(id)
	if done == nil {
		return err
	}
	defer done()
	temp := leaving + string(id)
	if err == nil {
		err = s.leave(v, temp)
	} else {
		err = nil // an earlier call's rest may be there
	}
	if err == nil {
		err = s.destroy(ctx, temp)
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.aside, temp)
	return nil
}

// leave takes a volume's name away.
func (s *Shelf) leave(v pool.Volume, temp string) error {
	if v.Mode == pool.Block {
		if err := detach(s.folder.Path(string(v.ID) + "/" + dataFile)); err != nil {
			return err
		}
	}
	switch names, err := s.folder.Names(temp); {
	case err != nil:
		return err
	case len(names) > 0: // of an earlier volume of this ID
		return fmt.Errorf("%w: an earlier volume of that ID is not erased yet; remove it again", pool.ErrBusy)
	}
	err := s.hands.Rename(string(v.ID), temp)
	if names, readErr := s.folder.Names(string(v.ID)); readErr != nil || len(names) > 0 {
		return errors.Join(err, readErr) // it has its name still
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.volumes, v.ID)
	s.aside[temp] = v.Bytes
	return err
}

// destroy removes a directory that is no volume's any more, or never was. What is
// not Berth's is an error.
func (s *Shelf) destroy(ctx context.Context, dir string) error {
	if strange, err := s.stranger(dir); err != nil || strange {
		return cmp.Or(err, fmt.Errorf("%s is not Berth's, and is left alone; move it elsewhere", s.folder.Path(dir)))
	}
	names, err := s.folder.Names(dir)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return s.hands.Remove(dir)
	}
	if !slices.Contains(names, dataFile) { // a raw volume has no directory
		if err := s.kind.Destroy(ctx, s.folder, dir+"/"+Data); err != nil {
			return err
		}
	}
	for _, file := range []string{dataFile, specFile, specFile + ".tmp", ""} {
		name := dir
		if file != "" {
			name += "/" + file
		}
		if err := s.hands.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
