package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/pool"
)

// fakePoolDisks are the disks that pools lie on, by the place where each is
// mounted. They outlive the pools.
type fakePoolDisks struct {
	mu      sync.Mutex
	at      map[string]*fakePoolDisk // by path, or volume group
	opens   []string                 // what was opened and closed, in order
	hanging map[string]chan struct{} // opening these waits
}

type fakePoolDisk struct {
	id      string
	volumes map[pool.ID]pool.Volume
	users   int           // open pools on it
	slow    chan struct{} // what is asked of its pools waits for it
	others  []pool.Stranger
}

const fakePoolBytes = 100 << 20

func newFakeDisks(paths ...string) *fakePoolDisks {
	d := &fakePoolDisks{at: map[string]*fakePoolDisk{}, hanging: map[string]chan struct{}{}}
	for _, p := range paths {
		d.mount(p, "disk of "+p)
	}
	return d
}

// mount puts a disk at a place, and returns what was there.
func (d *fakePoolDisks) mount(path, id string, ids ...pool.ID) *fakePoolDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.at[path]
	disk := &fakePoolDisk{id: id, volumes: map[pool.ID]pool.Volume{}}
	for _, v := range ids {
		disk.volumes[v] = pool.Volume{ID: v, Bytes: 1 << 20, Mode: pool.Filesystem}
	}
	d.at[path] = disk
	return before
}

func (d *fakePoolDisks) umount(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.at, path)
}

// said returns what was opened and closed since the last call.
func (d *fakePoolDisks) said() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() { d.opens = nil }()
	return d.opens
}

// open is an opener. Two pools on one disk at a time are what must not be, but
// for the moment in which the second sees that there is a first.
func (d *fakePoolDisks) open(ctx context.Context, c config.Pool) (pool.Pool, error) {
	path := cmp.Or(c.Path, c.VolumeGroup)
	d.mu.Lock()
	wait := d.hanging[path]
	d.mu.Unlock()
	if wait != nil {
		<-wait
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	disk := d.at[path]
	if disk == nil {
		return nil, fmt.Errorf("%q %w: nothing is mounted there", path, pool.ErrUnfit)
	}
	disk.users++
	d.opens = append(d.opens, "open "+c.Name)
	return &fakePool{disks: d, disk: disk, path: path, name: c.Name, reserve: c.Reserve}, nil
}

type fakePool struct {
	disks   *fakePoolDisks
	disk    *fakePoolDisk
	path    string
	name    string
	reserve pool.Reserve
	shut    bool
}

func (f *fakePool) There() error {
	f.disks.mu.Lock()
	defer f.disks.mu.Unlock()
	if f.disks.at[f.path] != f.disk {
		return fmt.Errorf("%q %w any more: not mounted there now", f.path, pool.ErrUnfit)
	}
	return nil
}

func (f *fakePool) Disk() string { return f.disk.id }

func (f *fakePool) Strangers() []pool.Stranger { return f.disk.others }

func (f *fakePool) Shut() error {
	f.disks.mu.Lock()
	defer f.disks.mu.Unlock()
	f.shut = true
	f.disk.users--
	f.disks.opens = append(f.disks.opens, "shut "+f.name)
	return nil
}

func (f *fakePool) SetReserve(r pool.Reserve) {
	f.disks.mu.Lock()
	defer f.disks.mu.Unlock()
	f.reserve = r
}

// locked does something with the disk, unless the pool is closed.
func (f *fakePool) locked(do func() error) error {
	f.disks.mu.Lock()
	slow := f.disk.slow
	f.disks.mu.Unlock()
	if slow != nil {
		<-slow
	}
	f.disks.mu.Lock()
	defer f.disks.mu.Unlock()
	if f.shut {
		return errors.New("used after it was closed")
	}
	return do()
}

func (f *fakePool) Features() pool.Features { return pool.Features{Enforced: true} }

func (f *fakePool) Room(context.Context) (r pool.Room, err error) {
	err = f.locked(func() error {
		r.Total = fakePoolBytes - f.reserve.Of(fakePoolBytes)
		r.Free = r.Total
		for _, v := range f.disk.volumes {
			r.Free -= v.Bytes
		}
		r.Largest = r.Free
		return nil
	})
	return r, err
}

func (f *fakePool) Volumes(context.Context) (all []pool.Volume, err error) {
	err = f.locked(func() error {
		for _, id := range slices.Sorted(maps.Keys(f.disk.volumes)) {
			all = append(all, f.disk.volumes[id])
		}
		return nil
	})
	return all, err
}

func (f *fakePool) Carve(_ context.Context, s pool.Spec) (pool.Volume, error) {
	return pool.Volume(s), f.locked(func() error { f.disk.volumes[s.ID] = pool.Volume(s); return nil })
}

func (f *fakePool) Grow(_ context.Context, id pool.ID, bytes int64) (v pool.Volume, err error) {
	err = f.locked(func() error {
		v = f.disk.volumes[id]
		v.Bytes = max(v.Bytes, bytes)
		f.disk.volumes[id] = v
		return nil
	})
	return v, err
}

func (f *fakePool) Open(_ context.Context, id pool.ID) (pool.Place, error) {
	return pool.Place{Dir: f.path + "/" + string(id)}, f.locked(func() error { return nil })
}

func (f *fakePool) Close(context.Context, pool.ID) error {
	return f.locked(func() error { return nil })
}

func (f *fakePool) Remove(_ context.Context, id pool.ID) error {
	return f.locked(func() error { delete(f.disk.volumes, id); return nil })
}
