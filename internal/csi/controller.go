package csi

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// ParamPool is the StorageClass parameter that names the pool. It is not
// needed where a node has one pool.
const ParamPool = "pool"

// defaultBytes is the size of a volume for which none is asked: 1 GiB.
const defaultBytes = 1 << 30

// topologyKey is where volumes say which node they are on.
func (s *Server) topologyKey() string { return s.Driver + "/node" }

func (s *Server) topology() *csi.Topology {
	return &csi.Topology{Segments: map[string]string{s.topologyKey(): s.Node}}
}

// ControllerGetCapabilities is CSI's.
func (s *Server) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	var all []*csi.ControllerServiceCapability
	for _, t := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME, csi.ControllerServiceCapability_RPC_LIST_VOLUMES,
		csi.ControllerServiceCapability_RPC_GET_CAPACITY, csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		all = append(all, &csi.ControllerServiceCapability{Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: t}}})
	}
	return &csi.ControllerGetCapabilitiesResponse{Capabilities: all}, nil
}

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
	mode, err := modeOf(p, r.GetVolumeCapabilities()...)
	if err != nil {
		return nil, err
	}
	bytes, limit, err := sizes(r.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	h := pool.HandleOf(s.Node, name, idOf(r.GetName()))
	done, err := s.alone(h.String())
	if err != nil {
		return nil, err
	}
	defer done()
	v, err := s.carve(ctx, p, pool.Spec{ID: h.ID, Bytes: bytes, Mode: mode}, limit)
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
func (s *Server) carve(ctx context.Context, p pool.Pool, spec pool.Spec, limit int64) (pool.Volume, error) {
	all, err := p.Volumes(ctx)
	if err != nil {
		return pool.Volume{}, err
	}
	for _, v := range all {
		if v.ID != spec.ID {
			continue
		}
		if v.Mode != spec.Mode || v.Bytes < spec.Bytes || limit > 0 && v.Bytes > limit {
			return v, refuse(codes.AlreadyExists, "there is a volume of that name, %s of %d bytes, which does not fit: asked for is %s of %s", v.Mode, v.Bytes, spec.Mode, between(spec.Bytes, limit))
		}
		return v, nil
	}
	v, err := p.Carve(ctx, spec)
	if err == nil && limit > 0 && v.Bytes > limit {
		err = refuse(codes.OutOfRange, "the smallest volume that holds %d bytes has %d, and the limit is %d; raise the limit", spec.Bytes, v.Bytes, limit)
		if removeErr := p.Remove(ctx, v.ID); removeErr != nil {
			return v, fmt.Errorf("%w; removing it: %w", err, removeErr)
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

// here is an error unless a volume on this node is what is asked for.
func (s *Server) here(r *csi.TopologyRequirement) error {
	if len(r.GetRequisite()) == 0 {
		return nil
	}
	for _, t := range r.GetRequisite() {
		if node, ok := t.GetSegments()[s.topologyKey()]; !ok || node == s.Node {
			return nil
		}
	}
	return refuse(codes.ResourceExhausted, "volumes can be made on node %s only, which is none of those that are asked for", s.Node)
}

// DeleteVolume is CSI's.
func (s *Server) DeleteVolume(ctx context.Context, r *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	h, p, err := s.find(r.GetVolumeId())
	switch {
	case r.GetVolumeId() == "":
		return nil, err
	case err != nil && h.ID.Check() == nil && (!h.On(s.Node) || p == nil):
		// It may be there, where this node cannot see it.
		return nil, refuse(codes.FailedPrecondition, "%v", err)
	case err != nil:
		return &csi.DeleteVolumeResponse{}, nil // no driver made it
	}
	done, err := s.alone(h.String())
	if err != nil {
		return nil, err
	}
	defer done()
	if err := unused(ctx, p, h.ID); err != nil {
		return nil, err
	}
	if err := p.Close(ctx, h.ID); err != nil {
		return nil, err
	}
	return &csi.DeleteVolumeResponse{}, p.Remove(ctx, h.ID)
}

// unused is an error while a volume is mounted.
func unused(ctx context.Context, p pool.Pool, id pool.ID) error {
	all, err := p.Volumes(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(v pool.Volume) bool { return v.ID == id && v.Mode == pool.Filesystem }) {
		return nil // a device that is in use is refused by Close
	}
	at, err := p.Open(ctx, id)
	if err != nil || at.Dir == "" {
		return err
	}
	mounts, err := host.MountsOf(at.Dir)
	if err == nil && len(mounts) > 0 {
		err = refuse(codes.FailedPrecondition, "the volume is mounted at %s; unmount it first", strings.Join(mounts, ", "))
	}
	return err
}

// ControllerExpandVolume is CSI's.
func (s *Server) ControllerExpandVolume(ctx context.Context, r *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	h, p, err := s.find(r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	v, err := s.grow(ctx, h, p, r.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: v.Bytes, NodeExpansionRequired: v.Mode == pool.Filesystem && p.Features().Device}, nil
}

func (s *Server) grow(ctx context.Context, h pool.Handle, p pool.Pool, r *csi.CapacityRange) (pool.Volume, error) {
	if r == nil {
		return pool.Volume{}, refuse(codes.InvalidArgument, "the request does not say how large the volume is to be")
	}
	bytes, limit, err := sizes(r)
	if err != nil {
		return pool.Volume{}, err
	}
	done, err := s.alone(h.String())
	if err != nil {
		return pool.Volume{}, err
	}
	defer done()
	v, err := p.Grow(ctx, h.ID, bytes)
	if err == nil && limit > 0 && v.Bytes > limit {
		err = refuse(codes.OutOfRange, "the volume has %d bytes, which is over the limit of %d; a volume never shrinks", v.Bytes, limit)
	}
	return v, err
}

// GetCapacity is CSI's.
func (s *Server) GetCapacity(ctx context.Context, r *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	_, p, err := s.choose(r.GetParameters())
	if err != nil {
		return nil, err
	}
	if len(r.GetVolumeCapabilities()) > 0 {
		if _, err := modeOf(p, r.GetVolumeCapabilities()...); err != nil {
			return nil, err
		}
	}
	if node, ok := r.GetAccessibleTopology().GetSegments()[s.topologyKey()]; ok && node != s.Node {
		return &csi.GetCapacityResponse{}, nil // nothing of it is here
	}
	room, err := p.Room(ctx)
	if err != nil {
		return nil, err
	}
	return &csi.GetCapacityResponse{AvailableCapacity: room.Free, MaximumVolumeSize: wrapperspb.Int64(room.Largest)}, nil
}

// ValidateVolumeCapabilities is CSI's.
func (s *Server) ValidateVolumeCapabilities(ctx context.Context, r *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	h, p, err := s.find(r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if len(r.GetVolumeCapabilities()) == 0 {
		return nil, refuse(codes.InvalidArgument, "the request has no volume capability")
	}
	v, err := volumeOf(ctx, p, h.ID)
	if err != nil {
		return nil, err
	}
	mode, err := modeOf(p, r.GetVolumeCapabilities()...)
	if err == nil && mode != v.Mode {
		err = refuse(codes.InvalidArgument, "the volume is %s, not %s", v.Mode, mode)
	}
	if err != nil {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: err.Error()}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext: r.GetVolumeContext(), VolumeCapabilities: r.GetVolumeCapabilities(), Parameters: r.GetParameters(),
	}}, nil
}

func volumeOf(ctx context.Context, p pool.Pool, id pool.ID) (pool.Volume, error) {
	all, err := p.Volumes(ctx)
	if err != nil {
		return pool.Volume{}, err
	}
	for _, v := range all {
		if v.ID == id {
			return v, nil
		}
	}
	return pool.Volume{}, fmt.Errorf("%w: %s", pool.ErrNotFound, id)
}

// ListVolumes is CSI's. A token is the number of the entry to go on with.
func (s *Server) ListVolumes(ctx context.Context, r *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	var entries []*csi.ListVolumesResponse_Entry
	for _, name := range s.Pools.Names() {
		p, ok := s.Pools.Get(name)
		if !ok {
			continue // it was closed meanwhile
		}
		all, err := p.Volumes(ctx)
		if err != nil {
			return nil, err
		}
		for _, v := range all {
			entries = append(entries, &csi.ListVolumesResponse_Entry{Volume: &csi.Volume{
				VolumeId: pool.HandleOf(s.Node, name, v.ID).String(), CapacityBytes: v.Bytes, AccessibleTopology: []*csi.Topology{s.topology()},
			}})
		}
	}
	from, next := 0, ""
	if token := r.GetStartingToken(); token != "" {
		n, err := strconv.Atoi(token)
		if err != nil || n < 0 || n > len(entries) {
			return nil, refuse(codes.Aborted, "the starting token %q is not one of this list; start it anew", token)
		}
		from = n
	}
	entries = entries[from:]
	if most := int(r.GetMaxEntries()); most < 0 {
		return nil, refuse(codes.InvalidArgument, "at most %d entries were asked for; allowed: 0 and more", most)
	} else if most > 0 && most < len(entries) {
		entries, next = entries[:most], strconv.Itoa(from+most)
	}
	return &csi.ListVolumesResponse{Entries: entries, NextToken: next}, nil
}
