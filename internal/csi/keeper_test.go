//go:build root || vm

package csi_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/berth-storage/berth/internal/csi"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// one is a node with one pool, and what it notes of it.
type one struct {
	pool.Pool

	mu   sync.Mutex // guards the rest
	fs   map[pool.ID]string
	held map[pool.ID]bool // no pod may have these
	used map[pool.ID]bool
}

func newOne(p pool.Pool) *one {
	return &one{Pool: p, fs: map[pool.ID]string{}, held: map[pool.ID]bool{}, used: map[pool.ID]bool{}}
}

func (*one) Names() []string { return []string{"disks"} }

func (o *one) Get(name string) (pool.Pool, bool) { return o.Pool, name == "disks" }

func (o *one) Create(ctx context.Context, _ string, s pool.Spec, fsType string) (pool.Volume, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all, err := o.Volumes(ctx)
	if err != nil {
		return pool.Volume{}, err
	}
	for _, v := range all {
		if v.ID == s.ID && (v.Mode != s.Mode || v.Bytes < s.Bytes || o.fs[s.ID] != fsType) {
			return v, fmt.Errorf("%w: it is %s with %q", pool.ErrDiffers, v.Mode, o.fs[s.ID])
		} else if v.ID == s.ID {
			return v, nil
		}
	}
	v, err := o.Carve(ctx, s)
	if err != nil || fsType == "" {
		return v, err
	}
	o.fs[s.ID] = fsType
	at, err := o.Open(ctx, s.ID)
	if err == nil {
		err = host.MakeFilesystem(ctx, at.Device, fsType, true)
	}
	return v, errors.Join(err, o.Close(ctx, s.ID))
}

func (o *one) Delete(ctx context.Context, _ string, id pool.ID) error {
	if o.isHeld(id) {
		return fmt.Errorf("%w: a PersistentVolume speaks for it", csi.ErrHeld)
	}
	if err := o.Remove(ctx, id); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.fs, id) // the suite makes another one of that name, without a filesystem
	return nil
}

func (o *one) Grow(ctx context.Context, _ string, id pool.ID, bytes int64) (pool.Volume, error) {
	return o.Pool.Grow(ctx, id, bytes)
}

func (o *one) Use(_ context.Context, _ string, id pool.ID) (string, error) {
	if o.isHeld(id) {
		return "", fmt.Errorf("%w: it is in quarantine", csi.ErrHeld)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.used[id] = true
	return o.fs[id], nil
}

func (o *one) isHeld(id pool.ID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.held[id]
}

// devices is a pool of devices made of one of directories, whose raw volumes
// they are.
type devices struct {
	pool.Pool
	fs sync.Map // ID -> true for those of mode Filesystem
}

func (*devices) Features() pool.Features { return pool.Features{Enforced: true, Device: true} }

func (d *devices) Carve(ctx context.Context, s pool.Spec) (pool.Volume, error) {
	if s.Mode == pool.Filesystem {
		d.fs.Store(s.ID, true)
		s.Mode = pool.Block
	}
	v, err := d.Pool.Carve(ctx, s)
	return d.mode(v), err
}

func (d *devices) Grow(ctx context.Context, id pool.ID, bytes int64) (pool.Volume, error) {
	v, err := d.Pool.Grow(ctx, id, bytes)
	return d.mode(v), err
}

func (d *devices) Volumes(ctx context.Context) ([]pool.Volume, error) {
	all, err := d.Pool.Volumes(ctx)
	for i, v := range all {
		all[i] = d.mode(v)
	}
	return all, err
}

func (d *devices) mode(v pool.Volume) pool.Volume {
	if _, ok := d.fs.Load(v.ID); ok {
		v.Mode = pool.Filesystem
	}
	return v
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func folder(t *testing.T, path string) *host.Folder {
	f, err := host.OpenFolder(path, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
