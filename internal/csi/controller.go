package csi

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/publish"
)

// topologyKey is where volumes say which node they are on.
func (s *Server) topologyKey() string { return s.Driver + "/node" }

// topologyValue is what the label of the node's volumes and claims says, too.
func (s *Server) topologyValue() string { return publish.NodeLabelValue(s.Node) }

func (s *Server) topology() *csi.Topology {
	return &csi.Topology{Segments: map[string]string{s.topologyKey(): s.topologyValue()}}
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

// DeleteVolume is CSI's.
func (s *Server) DeleteVolume(ctx context.Context, r *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	h, p, err := s.find(r.GetVolumeId())
	if err != nil {
		_, malformed := pool.ParseHandle(r.GetVolumeId())
		switch {
		case r.GetVolumeId() == "":
			return nil, err
		case malformed != nil:
			return &csi.DeleteVolumeResponse{}, nil // no driver made it
		}
		// It may be there, where this node cannot see it.
		return nil, refuse(codes.FailedPrecondition, "%s", status.Convert(err).Message())
	}
	done, err := s.alone(h.String())
	if err != nil {
		return nil, err
	}
	defer done()
	if err := unused(ctx, p, h.ID); err != nil {
		return nil, err
	}
	return &csi.DeleteVolumeResponse{}, s.Keeper.Delete(ctx, h.Pool, h.ID)
}

// unused closes a volume, which is an error while it is mounted, or while its
// device is to be seen by a pod that may open it at any time: the device's number
// may be another volume's then.
func unused(ctx context.Context, p pool.Pool, id pool.ID) error {
	at, err := p.Open(ctx, id)
	if errors.Is(err, pool.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	mounts, err := host.MountsOf(at.Dir + at.Device) // one of the two is ""
	if err == nil && len(mounts) > 0 {
		err = refuse(codes.FailedPrecondition, "the volume is mounted at %s; unmount it first", strings.Join(mounts, ", "))
	}
	if err != nil {
		return err
	}
	return p.Close(ctx, id)
}

// ControllerExpandVolume is CSI's.
func (s *Server) ControllerExpandVolume(ctx context.Context, r *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	h, p, err := s.find(r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	v, err := s.grow(ctx, h, r.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: v.Bytes, NodeExpansionRequired: v.Mode == pool.Filesystem && p.Features().Device}, nil
}

func (s *Server) grow(ctx context.Context, h pool.Handle, r *csi.CapacityRange) (pool.Volume, error) {
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
	v, err := s.Keeper.Grow(ctx, h.Pool, h.ID, bytes)
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
		if _, err := wishOf(p, host.DefaultFilesystem, r.GetVolumeCapabilities()...); err != nil {
			return nil, err
		}
	}
	if node, ok := r.GetAccessibleTopology().GetSegments()[s.topologyKey()]; ok && node != s.topologyValue() {
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
	w, err := wishOf(p, "", r.GetVolumeCapabilities()...)
	if err == nil && w.mode != v.Mode {
		err = refuse(codes.InvalidArgument, "the volume is %s, not %s", v.Mode, w.mode)
	}
	if err != nil {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: status.Convert(withCode(err)).Message()}, nil
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
