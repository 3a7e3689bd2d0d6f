package csi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// ParamPool is the StorageClass parameter that names the pool. It is not
// needed where a node has one pool.
const ParamPool = "pool"

// defaultBytes is the size of a volume for which none is asked: 1 GiB.
const defaultBytes = 1 << 30

// choose finds the pool that parameters name.
func (s *Server) choose(parameters map[string]string) (string, pool.Pool, error) {
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		// Provisioners add their own with this prefix.
		if key != ParamPool && !strings.HasPrefix(key, "csi.storage.k8s.io/") {
			return "", nil, refuse(codes.InvalidArgument, "the StorageClass has the parameter %q; allowed: %s", key, ParamPool)
		}
	}
	name, given := parameters[ParamPool]
	if names := s.Pools.Names(); !given && len(names) == 1 {
		name = names[0]
	} else if !given {
		return "", nil, refuse(codes.InvalidArgument, "the StorageClass does not say which pool (parameter %q); node %s has: %s", ParamPool, s.Node, s.names())
	}
	p, ok := s.Pools.Get(name)
	if !ok {
		return "", nil, refuse(codes.InvalidArgument, "node %s has no pool %q; it has: %s", s.Node, name, s.names())
	}
	return name, p, nil
}

// CreateVolume is CSI's.
func (s *Server) CreateVolume(ctx context.Context, r *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if r.GetName() == "" {
		return nil, refuse(codes.InvalidArgument, "the request has no name for the volume")
	}
	if r.GetVolumeContentSource() != nil {
		return nil, refuse(codes.InvalidArgument, "a volume is always made empty: there are no snapshots or clones")
	}
	if err := s.here(r.GetAccessibilityRequirements()); err != nil {
		return nil, err
	}
	name, p, err := s.choose(r.GetParameters())
	if err != nil {
		return nil, err
	}
	w, err := wishOf(p, host.DefaultFilesystem, r.GetVolumeCapabilities()...)
	if err != nil {
		return nil, err
	}
	bytes, limit, err := sizes(r.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	if bytes, err = w.atLeast(bytes, limit); err != nil {
		return nil, err
	}
	h := pool.HandleOf(s.Node, name, idOf(r.GetName()))
	done, err := s.alone(h.String())
	if err != nil {
		return nil, err
	}
	defer done()
	v, err := s.carve(ctx, p, h, w, bytes, limit)
	if err != nil {
		return nil, err
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId: h.String(), CapacityBytes: v.Bytes, AccessibleTopology: []*csi.Topology{s.topology()},
		VolumeContext: map[string]string{ParamPool: name},
	}}, nil
}

// carve makes a volume, or finds one that an earlier request of the same name
// has made and that fits this one.
func (s *Server) carve(ctx context.Context, p pool.Pool, h pool.Handle, w wish, bytes, limit int64) (pool.Volume, error) {
	have, err := volumeOf(ctx, p, h.ID)
	if err != nil && !errors.Is(err, pool.ErrNotFound) {
		return have, err
	}
	if err == nil && (have.Mode != w.mode || have.Bytes < bytes || limit > 0 && have.Bytes > limit) {
		return have, refuse(codes.AlreadyExists, "there is a volume of that name, %s of %d bytes, which does not fit: asked for is %s of %s", have.Mode, have.Bytes, w.mode, between(bytes, limit))
	}
	v, err := s.Keeper.Create(ctx, h.Pool, pool.Spec{ID: h.ID, Bytes: bytes, Mode: w.mode}, w.fsType)
	if err == nil && limit > 0 && v.Bytes > limit {
		err = refuse(codes.OutOfRange, "the smallest volume that holds %d bytes has %d, and the limit is %d; raise the limit", bytes, v.Bytes, limit)
		if deleteErr := s.Keeper.Delete(ctx, h.Pool, h.ID); deleteErr != nil {
			return v, fmt.Errorf("%w; removing it: %w", err, deleteErr)
		}
	}
	return v, err
}

func between(bytes, limit int64) string {
	if limit > 0 {
		return fmt.Sprintf("%d to %d bytes", bytes, limit)
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// sizes reads a capacity range; a limit of 0 is none.
func sizes(r *csi.CapacityRange) (bytes, limit int64, err error) {
	bytes, limit = r.GetRequiredBytes(), r.GetLimitBytes()
	switch {
	case bytes < 0 || limit < 0:
		return 0, 0, refuse(codes.InvalidArgument, "a size of %d bytes, with a limit of %d; allowed: 0 and more", bytes, limit)
	case limit > 0 && bytes > limit:
		return 0, 0, refuse(codes.InvalidArgument, "%d bytes are required, which is over the limit of %d", bytes, limit)
	case bytes == 0 && limit > 0:
		bytes = min(limit, defaultBytes)
	case bytes == 0:
		bytes = defaultBytes
	}
	return bytes, limit, nil
}

// atLeast is a size that the wished filesystem can be made in: that many bytes,
// or more.
func (w wish) atLeast(bytes, limit int64) (int64, error) {
	if w.fsType == "" {
		return bytes, nil
	}
	least, err := host.MinFilesystem(w.fsType)
	if err == nil && limit > 0 && least > limit {
		err = refuse(codes.OutOfRange, "the filesystem %s needs %d bytes, and the limit is %d; raise the limit, or choose another filesystem", w.fsType, least, limit)
	}
	return max(bytes, least), err
}

// here is an error unless a volume on this node is what is asked for.
func (s *Server) here(r *csi.TopologyRequirement) error {
	if len(r.GetRequisite()) == 0 {
		return nil
	}
	for _, t := range r.GetRequisite() {
		if node, ok := t.GetSegments()[s.topologyKey()]; !ok || node == s.topologyValue() {
			return nil
		}
	}
	return refuse(codes.ResourceExhausted, "volumes can be made on node %s only, which is none of those that are asked for", s.Node)
}
