package csi

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/berth-storage/berth/internal/pool"
)

// A handle names a volume for Kubernetes: <node>/<pool>/<ID>. The node is a hash
// of its name, as the specification allows 128 bytes for all.
type handle struct {
	node, pool string
	id         pool.ID
}

func (h handle) String() string { return h.node + "/" + h.pool + "/" + string(h.id) }

func (s *Server) handle(poolName string, id pool.ID) handle {
	return handle{nodeHash(s.Node), poolName, id}
}

func nodeHash(node string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(node)))[:12] }

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
func (s *Server) find(text string) (handle, pool.Pool, error) {
	if text == "" {
		return handle{}, nil, refuse(codes.InvalidArgument, "the request names no volume")
	}
	node, rest, _ := strings.Cut(text, "/")
	name, id, _ := strings.Cut(rest, "/")
	h := handle{node, name, pool.ID(id)}
	if err := h.id.Check(); err != nil {
		return h, nil, refuse(codes.NotFound, "%q is not a volume of this driver: a handle is <node>/<pool>/<volume>", text)
	}
	if h.node != nodeHash(s.Node) {
		return h, nil, refuse(codes.NotFound, "volume %s is not on node %s", text, s.Node)
	}
	p, ok := s.Pools.Get(h.pool)
	if !ok {
		return h, nil, refuse(codes.NotFound, "node %s has no pool %q, which volume %s is of; its pools: %s", s.Node, h.pool, text, s.names())
	}
	return h, p, nil
}

func (s *Server) names() string {
	if names := s.Pools.Names(); len(names) > 0 {
		return strings.Join(names, ", ")
	}
	return "none"
}
