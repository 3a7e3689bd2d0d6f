package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// NodeGetInfo is CSI's.
func (s *Server) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: s.Node, AccessibleTopology: s.topology()}, nil
}

// NodeGetCapabilities is CSI's.
func (s *Server) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	var all []*csi.NodeServiceCapability
	for _, t := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME, csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME, csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		all = append(all, &csi.NodeServiceCapability{Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: t}}})
	}
	return &csi.NodeGetCapabilitiesResponse{Capabilities: all}, nil
}

// absolute is an error unless a request's path is one that can be used.
func absolute(what, path string) error {
	if path == "" || !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return refuse(codes.InvalidArgument, "the %s is %q; it must be an absolute path without . and ..", what, path)
	}
	return nil
}

// use finds the volume that a request is about, and opens it for the request
// alone, until done is called.
func (s *Server) use(ctx context.Context, text string, c *csi.VolumeCapability) (v pool.Volume, at pool.Place, done func(), err error) {
	h, p, err := s.find(text)
	if err != nil {
		return v, at, nil, err
	}
	mode, err := modeOf(p, c)
	if err != nil {
		return v, at, nil, err
	}
	if done, err = s.alone(h.String()); err != nil {
		return v, at, nil, err
	}
	if v, err = volumeOf(ctx, p, h.ID); err == nil && v.Mode != mode {
		err = refuse(codes.InvalidArgument, "volume %s is %s, not %s", text, v.Mode, mode)
	}
	if err == nil {
		at, err = p.Open(ctx, h.ID)
	}
	if err != nil {
		done()
	}
	return v, at, done, err
}

// NodeStageVolume is CSI's. A raw device needs no more than to be open.
func (s *Server) NodeStageVolume(ctx context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	if err := absolute("staging path", r.GetStagingTargetPath()); err != nil {
		return nil, err
	}
	v, at, done, err := s.use(ctx, r.GetVolumeId(), r.GetVolumeCapability())
	if err != nil {
		return nil, err
	}
	defer done()
	if v.Mode == pool.Block {
		return &csi.NodeStageVolumeResponse{}, nil
	}
	if _, err := os.Stat(filepath.Dir(r.GetStagingTargetPath())); errors.Is(err, fs.ErrNotExist) {
		return nil, refuse(codes.FailedPrecondition, "the staging path %s is in a directory that is not there; make it first", r.GetStagingTargetPath())
	}
	flags, err := host.BindFlags(r.GetVolumeCapability().GetMount().GetMountFlags())
	if err != nil {
		return nil, err
	}
	return &csi.NodeStageVolumeResponse{}, host.Bind(at.Dir, r.GetStagingTargetPath(), flags)
}

// NodeUnstageVolume is CSI's.
func (s *Server) NodeUnstageVolume(ctx context.Context, r *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if err := absolute("staging path", r.GetStagingTargetPath()); err != nil {
		return nil, err
	}
	h, p, err := s.find(r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	done, err := s.alone(h.String())
	if err != nil {
		return nil, err
	}
	defer done()
	if err := host.Unmount(r.GetStagingTargetPath()); err != nil {
		return nil, err
	}
	return &csi.NodeUnstageVolumeResponse{}, p.Close(ctx, h.ID)
}

// NodePublishVolume is CSI's. What is staged is looked at again: a pod never
// gets another volume than the one that is named.
func (s *Server) NodePublishVolume(ctx context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if err := absolute("target path", r.GetTargetPath()); err != nil {
		return nil, err
	}
	if r.GetVolumeCapability() == nil {
		return nil, refuse(codes.InvalidArgument, "the request has no volume capability")
	}
	if r.GetStagingTargetPath() == "" {
		return nil, refuse(codes.FailedPrecondition, "the request has no staging path; stage the volume first")
	}
	if err := absolute("staging path", r.GetStagingTargetPath()); err != nil {
		return nil, err
	}
	v, at, done, err := s.use(ctx, r.GetVolumeId(), r.GetVolumeCapability())
	if err != nil {
		return nil, err
	}
	defer done()
	flags, err := host.BindFlags(r.GetVolumeCapability().GetMount().GetMountFlags())
	if err != nil {
		return nil, err
	}
	if r.GetReadonly() {
		flags |= unix.MS_RDONLY
	}
	source := at.Device
	if v.Mode == pool.Filesystem {
		source = r.GetStagingTargetPath()
		if err := same(at.Dir, source); err != nil {
			return nil, err
		}
	}
	if r.GetVolumeCapability().GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER {
		if err := only(source, r.GetStagingTargetPath(), r.GetTargetPath()); err != nil {
			return nil, err
		}
	}
	return &csi.NodePublishVolumeResponse{}, host.Bind(source, r.GetTargetPath(), flags)
}

// only is an error when a volume is mounted anywhere but where it is staged and
// where it is to be: one pod at a time may have it.
func only(source, staging, target string) error {
	mounts, err := host.MountsOf(source)
	if err != nil {
		return err
	}
	for _, at := range mounts {
		if at != staging && at != target {
			return refuse(codes.FailedPrecondition, "one pod at a time may have this volume (ReadWriteOncePod), and it is mounted at %s", at)
		}
	}
	return nil
}

// same is an error unless a volume is what is mounted at a staging path.
func same(dir, staging string) error {
	want, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("looking at the volume: %w", err)
	}
	got, err := os.Stat(staging)
	if err != nil || !os.SameFile(want, got) {
		return refuse(codes.FailedPrecondition, "the volume is not what is at the staging path %s; stage it there first", staging)
	}
	return nil
}

// NodeUnpublishVolume is CSI's.
func (s *Server) NodeUnpublishVolume(_ context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if err := absolute("target path", r.GetTargetPath()); err != nil {
		return nil, err
	}
	h, _, err := s.find(r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	done, err := s.alone(h.String())
	if err != nil {
		return nil, err
	}
	defer done()
	return &csi.NodeUnpublishVolumeResponse{}, host.Unmount(r.GetTargetPath())
}

// NodeExpandVolume is CSI's. A directory and a device have grown with the
// volume already.
func (s *Server) NodeExpandVolume(ctx context.Context, r *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	if r.GetVolumePath() == "" {
		return nil, refuse(codes.InvalidArgument, "the request has no volume path")
	}
	h, p, err := s.find(r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := mountedAt(r.GetVolumePath()); err != nil {
		return nil, err
	}
	if r.GetCapacityRange() == nil {
		v, err := volumeOf(ctx, p, h.ID)
		return &csi.NodeExpandVolumeResponse{CapacityBytes: v.Bytes}, err
	}
	v, err := s.grow(ctx, h, p, r.GetCapacityRange())
	return &csi.NodeExpandVolumeResponse{CapacityBytes: v.Bytes}, err
}

func mountedAt(path string) error {
	if _, err := os.Lstat(path); err != nil {
		return refuse(codes.NotFound, "nothing is at the volume path %s", path)
	}
	return nil
}

// NodeGetVolumeStats is CSI's.
func (s *Server) NodeGetVolumeStats(ctx context.Context, r *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	if r.GetVolumePath() == "" {
		return nil, refuse(codes.InvalidArgument, "the request has no volume path")
	}
	h, p, err := s.find(r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	v, err := volumeOf(ctx, p, h.ID)
	if err != nil {
		return nil, err
	}
	if err := mountedAt(r.GetVolumePath()); err != nil {
		return nil, err
	}
	total := &csi.VolumeUsage{Unit: csi.VolumeUsage_BYTES, Total: v.Bytes}
	if v.Mode == pool.Block {
		return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{total}}, nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(r.GetVolumePath(), &st); err != nil {
		return nil, fmt.Errorf("measuring %s: %w", r.GetVolumePath(), err)
	}
	total.Available = int64(st.Bavail) * st.Bsize
	total.Used = total.Total - total.Available
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
		total, {Unit: csi.VolumeUsage_INODES, Total: int64(st.Files), Available: int64(st.Ffree), Used: int64(st.Files - st.Ffree)},
	}}, nil
}
