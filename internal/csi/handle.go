package csi

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/berth-storage/berth/internal/pool"
)

// idOf makes a volume's ID from the name in a CreateVolumeRequest, which is any
// text: the name itself where that can be one.
func idOf(name string) pool.ID {
	if id := pool.ID(name); id.Check() == nil {
		return id
	}
	return pool.ID(fmt.Sprintf("name-%x", sha256.Sum256([]byte(name)))[:40])
}

// find returns the volume that a request names. One that cannot be is NotFound:
// the specification has no other code for a volume that no driver made.
func (s *Server) find(text string) (pool.Handle, pool.Pool, error) {
	if text == "" {
		return pool.Handle{}, nil, refuse(codes.InvalidArgument, "the request names no volume")
	}
	h, err := pool.ParseHandle(text)
	if err != nil {
		return h, nil, refuse(codes.NotFound, "%q is not a volume of this driver: a handle is <node>/<pool>/<volume>", text)
	}
	if !h.On(s.Node) {
		return h, nil, refuse(codes.NotFound, "volume %s is not on node %s", text, s.Node)
	}
	p, ok := s.Pools.Get(h.Pool)
	if !ok {
		return h, nil, refuse(codes.NotFound, "node %s has no pool %q, which volume %s is of; its pools: %s", s.Node, h.Pool, text, s.names())
	}
	return h, p, nil
}

func (s *Server) names() string {
	if names := s.Pools.Names(); len(names) > 0 {
		return strings.Join(names, ", ")
	}
	return "none"
}
