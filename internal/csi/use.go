package csi

import (
	"context"
	"errors"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// A use is a volume that one request is at work on, for a pod.
type use struct {
	v       pool.Volume
	p       pool.Pool
	at      pool.Place
	fsType  string // what the device holds; "" for a directory and a raw device
	options host.MountOptions
}

// use finds the volume that a request wants for a pod, has that noted, and opens
// it for the request alone, until done is called.
func (s *Server) use(ctx context.Context, text string, c *csi.VolumeCapability) (u use, done func(), err error) {
	h, p, err := s.find(text)
	if err != nil {
		return u, nil, err
	}
	w, err := wishOf(p, "", c)
	if err != nil {
		return u, nil, err
	}
	alone, err := s.alone(h.String())
	if err != nil {
		return u, nil, err
	}
	fsType, kept, err := s.Keeper.Use(ctx, h.Pool, h.ID)
	if err != nil {
		alone()
		return u, nil, err
	}
	done = func() { kept(); alone() }
	if u, err = useKept(ctx, h, p, fsType, w, c); err != nil {
		done()
	}
	return u, done, err
}

// useKept opens a volume that holds a filesystem, and that nobody erases now.
func useKept(ctx context.Context, h pool.Handle, p pool.Pool, fsType string, w wish, c *csi.VolumeCapability) (u use, err error) {
	u.p, u.fsType = p, fsType
	if u.v, err = volumeOf(ctx, p, h.ID); err != nil {
		return u, err
	}
	if u.v.Mode != w.mode {
		return u, refuse(codes.InvalidArgument, "volume %s is %s, not %s", h, u.v.Mode, w.mode)
	}
	if w.fsType != "" && w.fsType != u.fsType {
		return u, refuse(codes.InvalidArgument, "volume %s holds the filesystem %q, not %q", h, u.fsType, w.fsType)
	}
	if u.options, err = host.ParseMountOptions(u.fsType, c.GetMount().GetMountFlags()); err != nil {
		return u, err
	}
	if u.at, err = p.Open(ctx, h.ID); err != nil {
		return u, err
	}
	if u.v.Mode == pool.Filesystem && u.at.Device != "" {
		if err = u.holds(); err != nil {
			err = errors.Join(err, u.release(ctx))
		}
	}
	return u, err
}

// holds is an error unless the device holds the kind of filesystem that was made
// on it when it was carved. None is ever made here: what looks empty may be a
// disk that does not answer well.
func (u use) holds() error {
	got, err := host.FilesystemOn(u.at.Device)
	if err != nil || got == u.fsType {
		return err
	}
	if got == "" {
		got = "none"
	}
	return refuse(codes.FailedPrecondition, "the device %s of volume %s holds the filesystem %s, and %s was made on it; none is made anew: repair the device, or delete the claim", u.at.Device, u.v.ID, got, u.fsType)
}

// release closes a device that is mounted nowhere.
func (u use) release(ctx context.Context) error {
	err := u.p.Close(ctx, u.v.ID)
	if errors.Is(err, pool.ErrBusy) {
		return nil
	}
	return err
}
