package shelf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"sync"

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
	s.mu.Lock()
	defer s.mu.Unlock()
	switch have, err := s.read(v.ID); {
	case err == nil && have.Bytes == v.Bytes && have.Mode == v.Mode:
		return have, nil
	case err == nil:
		return pool.Volume{}, fmt.Errorf("%w: %s is %s of %d bytes, and %s of %d bytes was asked for", pool.ErrDiffers, v.ID, have.Mode, have.Bytes, v.Mode, v.Bytes)
	case !errors.Is(err, pool.ErrNotFound):
		return pool.Volume{}, err
	}
	if err := s.fits(v.Bytes); err != nil {
		return pool.Volume{}, err
	}
	if err := s.make(ctx, v); err != nil {
		return pool.Volume{}, fmt.Errorf("carving %s: %w", v.ID, err)
	}
	return v, nil
}

// fits is pool.ErrNoRoom unless the pool can promise that many bytes more.
func (s *Shelf) fits(bytes int64) error {
	room, err := s.room()
	if err == nil && bytes > room.Free {
		err = fmt.Errorf("%w: %d bytes were asked for, %d are free", pool.ErrNoRoom, bytes, room.Free)
	}
	return err
}

// make makes a volume beside its place, and then moves it there: what has the
// name is whole.
func (s *Shelf) make(ctx context.Context, v pool.Volume) (err error) {
	temp := half + string(v.ID)
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
	s.mu.Lock()
	defer s.mu.Unlock()
	before, err := s.read(id)
	if err != nil {
		return pool.Volume{}, err
	}
	v := before
	if bytes > v.Bytes {
		if err := s.fits(bytes - v.Bytes); err != nil {
			return before, err
		}
		v.Bytes = bytes
		if err := s.promise(string(id), v); err != nil {
			return before, fmt.Errorf("growing %s: %w", id, err)
		}
	}
	if err := s.hold(v); err != nil {
		if v.Bytes > before.Bytes {
			err = errors.Join(err, s.promise(string(id), before))
		}
		return before, fmt.Errorf("growing %s: %w", id, err)
	}
	return v, nil
}

// Open is pool.Pool's.
func (s *Shelf) Open(_ context.Context, id pool.ID) (pool.Place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.read(id)
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
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.read(id)
	if errors.Is(err, pool.ErrNotFound) {
		return nil
	}
	if err != nil || v.Mode == pool.Filesystem {
		return err
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
// until its bytes are gone too, which may take long and holds up no other call.
func (s *Shelf) Remove(ctx context.Context, id pool.ID) error {
	temp := leaving + string(id)
	done, err := s.leave(id, temp)
	if err == nil {
		err = s.destroy(ctx, temp)
		done()
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", id, err)
	}
	return nil
}

// leave takes a volume's name away. What is left of it is the caller's alone
// until it calls done.
func (s *Shelf) leave(id pool.ID, temp string) (done func(), err error) {
	turn := s.turn(temp)
	turn.Lock()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if err != nil {
			turn.Unlock()
		}
	}()
	v, err := s.read(id)
	if errors.Is(err, pool.ErrNotFound) {
		return turn.Unlock, nil // an earlier call's rest may be there
	}
	if err != nil {
		return nil, err
	}
	if v.Mode == pool.Block {
		if err := detach(s.folder.Path(string(id) + "/" + dataFile)); err != nil {
			return nil, err
		}
	}
	switch names, err := s.folder.Names(temp); {
	case err != nil:
		return nil, err
	case len(names) > 0: // of an earlier volume of this ID
		return nil, fmt.Errorf("%w: an earlier volume of that ID is not erased yet; remove it again", pool.ErrBusy)
	}
	return turn.Unlock, s.hands.Rename(string(id), temp)
}

// turn is the lock of those who erase one volume. There are as many as there
// were volumes erased since the start.
func (s *Shelf) turn(temp string) *sync.Mutex {
	t, _ := s.turns.LoadOrStore(temp, &sync.Mutex{})
	return t.(*sync.Mutex)
}

// destroy removes a directory that is no volume's any more, or never was.
func (s *Shelf) destroy(ctx context.Context, dir string) error {
	if names, err := s.folder.Names(dir); len(names) == 0 || err != nil {
		if err != nil {
			return err
		}
		return s.hands.Remove(dir)
	}
	if err := s.kind.Destroy(ctx, s.folder, dir+"/"+Data); err != nil {
		return err
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
