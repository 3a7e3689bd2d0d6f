package csi

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// SocketPath is where a driver's CSI socket is, below the kubelet's directory.
func SocketPath(kubeletDir, driver string) string {
	return filepath.Join(kubeletDir, "plugins", driver, "csi.sock")
}

// RegistrationPath is where the kubelet looks for a driver that wants to be
// registered: it connects to each socket that appears in that directory, and
// takes the driver off its list when the socket goes.
func RegistrationPath(kubeletDir, driver string) string {
	return filepath.Join(kubeletDir, "plugins_registry", driver+"-reg.sock")
}

// Serve serves CSI, and the registration with the kubelet, on sockets of mode
// 0600 below the kubelet's directory until ctx ends, and removes them then.
// kubeletDir must be the same path for the kubelet and for this process. A
// socket of an earlier process is replaced, and one that somebody removes is
// made again. What goes wrong meanwhile is logged and tried again.
func (s *Server) Serve(ctx context.Context, kubeletDir string) error {
	services, endpoint := s.services(), SocketPath(kubeletDir, s.Driver)
	kubelet := grpc.NewServer()
	registration.RegisterRegistrationServer(kubelet, &registrar{s: s, endpoint: endpoint})

	// The kubelet asks the driver as soon as it has seen the registration, so
	// that one comes second and goes first.
	ready := make(chan struct{})
	csiDone := make(chan struct{})
	csiCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var csiErr, err error
	go func() {
		csiErr = s.listen(csiCtx, endpoint, services, func() { close(ready) })
		close(csiDone)
	}()
	select {
	case <-ready:
		err = s.listen(ctx, RegistrationPath(kubeletDir, s.Driver), kubelet, func() {})
	case <-csiDone:
	case <-ctx.Done():
	}
	stop()
	<-csiDone
	return errors.Join(err, csiErr)
}

// services is a gRPC server of CSI.
func (s *Server) services() *grpc.Server {
	server := grpc.NewServer(grpc.UnaryInterceptor(s.intercept))
	csi.RegisterIdentityServer(server, s)
	csi.RegisterControllerServer(server, s)
	csi.RegisterNodeServer(server, s)
	return server
}

// A registrar answers the kubelet's plugin watcher.
type registrar struct {
	registration.UnimplementedRegistrationServer
	s        *Server
	endpoint string
}

// GetInfo says what wants to be registered.
func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: r.s.Driver, Endpoint: r.endpoint, SupportedVersions: []string{"1.0.0"}}, nil
}

// NotifyRegistrationStatus is told whether that went well.
func (r *registrar) NotifyRegistrationStatus(_ context.Context, status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	var err error
	if !status.GetPluginRegistered() {
		err = errors.New("the kubelet has not registered the CSI driver: " + status.GetError())
		r.s.Log.Warn("the kubelet has not registered the CSI driver", "err", status.GetError())
	} else {
		r.s.Log.Info("the kubelet has registered the CSI driver")
	}
	if r.s.Registered != nil {
		r.s.Registered(err)
	}
	return &registration.RegistrationStatusResponse{}, nil
}
