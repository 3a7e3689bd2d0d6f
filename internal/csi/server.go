package csi

import (
	"context"
	"log/slog"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-storage/berth/internal/pool"
)

// Pools are the node's open pools, by name.
type Pools interface {
	// Names are those of all pools, sorted.
	Names() []string
	// Get returns a pool; false when there is none of that name.
	Get(name string) (pool.Pool, bool)
}

// A Server is the three services of one node.
type Server struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer

	Driver  string // the driver's name, which is also the first part of its topology key
	Version string
	Node    string // the name of the Node object
	Pools   Pools
	Keeper  Keeper
	Log     *slog.Logger
	// Registered, if not nil, is called with what the kubelet says each time
	// that it has tried to register the driver: nil where it has. After an error
	// it tries again by itself.
	Registered func(error)

	busy sync.Map // volume handles that a request is at work on
}

// intercept gives each error its code, and logs those that are not the
// caller's.
func (s *Server) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	answer, err := handle(ctx, request)
	if err == nil {
		return answer, nil
	}
	err = withCode(err)
	switch status.Code(err) {
	case codes.Internal, codes.Unknown, codes.DataLoss:
		s.Log.Error("a CSI request failed", "call", info.FullMethod, "err", err)
	default:
		s.Log.Debug("a CSI request was refused", "call", info.FullMethod, "err", err)
	}
	return nil, err
}

// alone keeps other requests off a volume until done is called.
func (s *Server) alone(handle string) (done func(), err error) {
	if _, taken := s.busy.LoadOrStore(handle, true); taken {
		return nil, refuse(codes.Aborted, "another request for volume %s is under way; ask again", handle)
	}
	return func() { s.busy.Delete(handle) }, nil
}
