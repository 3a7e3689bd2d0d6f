package csi

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// NodeExpandVolume is CSI's. A directory and a raw device have grown with the
// volume already; a filesystem on a device grows here.
func (s *Server) NodeExpandVolume(ctx context.Context, r *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	path := r.GetVolumePath()
	h, p, v, err := s.at(ctx, r.GetVolumeId(), path)
	if err != nil {
		return nil, err
	}
	if r.GetCapacityRange() != nil {
		if v, err = s.grow(ctx, h, r.GetCapacityRange()); err != nil {
			return nil, err
		}
	}
	if v.Mode == pool.Filesystem && p.Features().Device {
		done, err := s.alone(h.String())
		if err != nil {
			return nil, err
		}
		defer done()
		if err := s.growFilesystem(ctx, p, v, path); err != nil {
			return nil, err
		}
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: v.Bytes}, nil
}

func (s *Server) growFilesystem(ctx context.Context, p pool.Pool, v pool.Volume, path string) error {
	u := use{v: v, p: p}
	var err error
	if u.at, err = p.Open(ctx, v.ID); err != nil {
		return err
	}
	if err = host.GrowFilesystem(u.at.Device, path); err != nil {
		err = errors.Join(err, u.release(ctx))
	}
	return err
}

// at finds a volume that a request says is at a path.
func (s *Server) at(ctx context.Context, text, path string) (h pool.Handle, p pool.Pool, v pool.Volume, err error) {
	if path == "" {
		return h, p, v, refuse(codes.InvalidArgument, "the request has no volume path")
	}
	if h, p, err = s.find(text); err != nil {
		return h, p, v, err
	}
	if v, err = volumeOf(ctx, p, h.ID); err != nil {
		return h, p, v, err
	}
	if _, err := os.Lstat(path); err != nil {
		return h, p, v, refuse(codes.NotFound, "nothing is at the volume path %s", path)
	}
	return h, p, v, nil
}

// NodeGetVolumeStats is CSI's.
func (s *Server) NodeGetVolumeStats(ctx context.Context, r *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	path := r.GetVolumePath()
	h, p, v, err := s.at(ctx, r.GetVolumeId(), path)
	if err != nil {
		return nil, err
	}
	if v.Mode == pool.Block {
		return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{{Unit: csi.VolumeUsage_BYTES, Total: v.Bytes}}}, nil
	}
	if there, err := host.MountAt(path); err != nil {
		return nil, err
	} else if there == nil {
		return nil, refuse(codes.NotFound, "volume %s is not mounted at %s", r.GetVolumeId(), path)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return nil, fmt.Errorf("measuring %s: %w", path, err)
	}
	bytes := &csi.VolumeUsage{
		Unit: csi.VolumeUsage_BYTES, Total: int64(st.Blocks) * st.Bsize, Available: int64(st.Bavail) * st.Bsize, Used: int64(st.Blocks-st.Bfree) * st.Bsize,
	}
	inodes := &csi.VolumeUsage{Unit: csi.VolumeUsage_INODES, Total: int64(st.Files), Available: int64(st.Ffree), Used: int64(st.Files - st.Ffree)}
	if m, ok := p.(pool.Meter); ok {
		used, err := m.Used(ctx, h.ID)
		if err != nil {
			return nil, err
		}
		left := max(v.Bytes-used.Bytes, 0)
		*bytes = csi.VolumeUsage{Unit: csi.VolumeUsage_BYTES, Total: v.Bytes, Available: min(left, bytes.Available), Used: used.Bytes}
		if used.Inodes > 0 {
			inodes.Used, inodes.Total = used.Inodes, used.Inodes+inodes.Available
		}
	}
	all := []*csi.VolumeUsage{bytes}
	if inodes.Total > 0 { // btrfs counts none
		all = append(all, inodes)
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: all}, nil
}
