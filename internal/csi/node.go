package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// longestNodeID is what a CSINode object takes, in bytes.
const longestNodeID = 192

// NodeGetInfo is CSI's.
func (s *Server) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	id := s.Node
	if len(id) > longestNodeID {
		id = s.topologyValue()
	}
	return &csi.NodeGetInfoResponse{NodeId: id, AccessibleTopology: s.topology()}, nil
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

// parent is an error unless a path's directory is there.
func parent(what, path string) error {
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return refuse(codes.FailedPrecondition, "the %s %s is in a directory that is not there; make it first", what, path)
	}
	return nil
}

// absolute is an error unless a request's path is one that can be used.
func absolute(what, path string) error {
	if path == "" || !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return refuse(codes.InvalidArgument, "the %s is %q; it must be an absolute path without . and ..", what, path)
	}
	return nil
}

// NodeStageVolume is CSI's. A raw device needs no more than to be open.
func (s *Server) NodeStageVolume(ctx context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	staging := r.GetStagingTargetPath()
	if err := absolute("staging path", staging); err != nil {
		return nil, err
	}
	if err := parent("staging path", staging); err != nil {
		return nil, err
	}
	u, done, err := s.use(ctx, r.GetVolumeId(), r.GetVolumeCapability())
	if err != nil {
		return nil, err
	}
	defer done()
	switch {
	case u.v.Mode == pool.Block:
	case u.at.Device == "":
		err = host.Bind(u.at.Dir, staging, u.options)
	default:
		if err = host.MountFilesystem(u.at.Device, staging, u.fsType, u.options); err != nil {
			err = errors.Join(err, u.release(ctx))
		}
	}
	return &csi.NodeStageVolumeResponse{}, err
}

// NodeUnstageVolume is CSI's.
func (s *Server) NodeUnstageVolume(ctx context.Context, r *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	h, done, err := s.unmount(r.GetVolumeId(), "staging path", r.GetStagingTargetPath())
	if err != nil {
		return nil, err
	}
	defer done()
	p, ok := s.Pools.Get(h.Pool)
	if !ok {
		return &csi.NodeUnstageVolumeResponse{}, nil
	}
	if v, err := volumeOf(ctx, p, h.ID); err == nil && v.Mode == pool.Block {
		return &csi.NodeUnstageVolumeResponse{}, unused(ctx, p, h.ID)
	}
	return &csi.NodeUnstageVolumeResponse{}, p.Close(ctx, h.ID)
}

// unmount takes a volume's mount away. It does not need the pool, which may be
// broken or gone while a pod is to end.
func (s *Server) unmount(text, what, path string) (h pool.Handle, done func(), err error) {
	if err := absolute(what, path); err != nil {
		return h, nil, err
	}
	if h, _, err = s.find(text); err != nil && !(h.ID.Check() == nil && h.On(s.Node)) {
		return h, nil, err
	}
	if done, err = s.alone(h.String()); err != nil {
		return h, nil, err
	}
	if err := host.Unmount(path); err != nil {
		done()
		return h, nil, err
	}
	return h, done, nil
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
	if err := parent("target path", r.GetTargetPath()); err != nil {
		return nil, err
	}
	u, done, err := s.use(ctx, r.GetVolumeId(), r.GetVolumeCapability())
	if err != nil {
		return nil, err
	}
	defer done()
	options := u.options.OfMount() // the filesystem has the others since it was staged
	if r.GetReadonly() {
		options = options.ForReading()
	}
	source := u.at.Device
	if u.v.Mode == pool.Filesystem {
		source = r.GetStagingTargetPath()
		if err := u.staged(source); err != nil {
			return nil, errors.Join(err, u.release(ctx))
		}
	}
	if r.GetVolumeCapability().GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER {
		if err := only(source, r.GetStagingTargetPath(), r.GetTargetPath()); err != nil {
			return nil, err
		}
	}
	return &csi.NodePublishVolumeResponse{}, host.Bind(source, r.GetTargetPath(), options)
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

// staged is an error unless the volume is what is mounted at a staging path.
func (u use) staged(staging string) error {
	var err error
	if u.at.Device != "" {
		err = host.MountedFrom(u.at.Device, staging)
	} else if err = same(u.at.Dir, staging); err == nil {
		return nil
	}
	if err != nil {
		return refuse(codes.FailedPrecondition, "the volume is not what is at the staging path %s; stage it there first: %v", staging, err)
	}
	return nil
}

// same is an error unless a path is that of a directory.
func same(dir, path string) error {
	want, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("looking at the volume: %w", err)
	}
	got, err := os.Stat(path)
	if err == nil && !os.SameFile(want, got) {
		err = host.ErrNotMounted
	}
	return err
}

// NodeUnpublishVolume is CSI's.
func (s *Server) NodeUnpublishVolume(_ context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	_, done, err := s.unmount(r.GetVolumeId(), "target path", r.GetTargetPath())
	if err != nil {
		return nil, err
	}
	done()
	return &csi.NodeUnpublishVolumeResponse{}, nil
}
