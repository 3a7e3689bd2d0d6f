//go:build root

package csi_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/berth-storage/berth/internal/csi"
	"github.com/berth-storage/berth/internal/pool"
)

// registered asks as the kubelet does: for the driver, and the driver itself.
func registered(t *testing.T, kubelet string) registration.RegistrationClient {
	t.Helper()
	c := registration.NewRegistrationClient(dial(t, csi.RegistrationPath(kubelet, "berth.storage")))
	info, err := c.GetInfo(t.Context(), &registration.InfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if info.Type != "CSIPlugin" || info.Name != "berth.storage" || info.Endpoint != kubelet+"/plugins/berth.storage/csi.sock" || len(info.SupportedVersions) != 1 || info.SupportedVersions[0] != "1.0.0" {
		t.Errorf("registered is %v", info)
	}
	d := dial(t, info.Endpoint)
	p, err := spec.NewIdentityClient(d).Probe(t.Context(), &spec.ProbeRequest{})
	if err != nil || !p.Ready.GetValue() {
		t.Errorf("the driver says %v (%v)", p, err)
	}
	n, err := spec.NewNodeClient(d).NodeGetInfo(t.Context(), &spec.NodeGetInfoRequest{})
	if err != nil || n.NodeId != "node-1" || n.AccessibleTopology.Segments["berth.storage/node"] != "node-1" || n.MaxVolumesPerNode != 0 {
		t.Errorf("the node is %v (%v)", n, err)
	}
	return c
}

// TestRootRegister: the kubelet gets to know the driver, over a socket that an
// earlier process left, and after somebody took the sockets or their directories
// away.
func TestRootRegister(t *testing.T) {
	kubelet := kubeletDir(t)
	if err := os.MkdirAll(filepath.Join(kubelet, "plugins_registry"), 0o750); err != nil {
		t.Fatal(err)
	}
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: csi.RegistrationPath(kubelet, "berth.storage")})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()

	told := make(chan error, 1)
	s := &csi.Server{Driver: "berth.storage", Node: "node-1", Log: slog.New(slog.DiscardHandler), Registered: func(err error) { told <- err }}
	stop := start(t, s, kubelet)
	c := registered(t, kubelet)
	for _, status := range []*registration.RegistrationStatus{{Error: "another driver has that name"}, {PluginRegistered: true}} {
		if _, err := c.NotifyRegistrationStatus(t.Context(), status); err != nil {
			t.Fatal(err)
		}
		if err := <-told; (err == nil) != status.PluginRegistered {
			t.Errorf("of %v the agent hears %v", status, err)
		}
	}
	for _, gone := range []string{"plugins_registry/berth.storage-reg.sock", "plugins/berth.storage/csi.sock", "plugins_registry", "plugins"} {
		if err := os.RemoveAll(filepath.Join(kubelet, gone)); err != nil {
			t.Fatal(err)
		}
		registered(t, kubelet)
	}
	stop()
	for _, path := range []string{csi.SocketPath(kubelet, "berth.storage"), csi.RegistrationPath(kubelet, "berth.storage")} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("at the end %s is there: %v", path, err)
		}
	}
}

// TestRootSocketOfAnother: the socket that the next process has put in the place
// is not removed by this one's end.
func TestRootSocketOfAnother(t *testing.T) {
	kubelet := kubeletDir(t)
	s := &csi.Server{Driver: "berth.storage", Node: "node-1", Log: slog.New(slog.DiscardHandler)}
	stop := start(t, s, kubelet)
	registered(t, kubelet)
	for _, path := range []string{csi.SocketPath(kubelet, "berth.storage"), csi.RegistrationPath(kubelet, "berth.storage")} {
		next, err := net.Listen("unix", path+".next")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { next.Close() })
		if err := os.Rename(path+".next", path); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	for _, path := range []string{csi.SocketPath(kubelet, "berth.storage"), csi.RegistrationPath(kubelet, "berth.storage")} {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("the next one's socket: %v", err)
		}
	}
}

// TestRootSocketTooLong: what the kernel has no room for ends all at once, and
// says why.
func TestRootSocketTooLong(t *testing.T) {
	s := &csi.Server{Driver: "berth.storage", Node: "node-1", Log: slog.New(slog.DiscardHandler)}
	const longest = 107
	for what, length := range map[string]int{
		"the kubelet's socket": longest - len(csi.SocketPath("", "berth.storage")),
		"both sockets":         longest,
	} {
		dir := kubeletDir(t) + "/"
		long := dir + strings.Repeat("a", length-len(dir))
		if err := s.Serve(t.Context(), long); err == nil || !strings.Contains(err.Error(), "107 at most") {
			t.Errorf("serving with too long a path of %s: %v", what, err)
		}
		if _, err := os.Lstat(csi.SocketPath(long, "berth.storage")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: CSI's socket is left: %v", what, err)
		}
	}
}

// TestRootTwoAtOnce: the second request for a volume is told to come again, and
// one for another volume is not kept waiting.
func TestRootTwoAtOnce(t *testing.T) {
	n := directories(t)
	slow := &slowPool{Pool: n.Pool, at: make(chan struct{}), begin: make(chan struct{})}
	n.Pool = slow
	var first sync.WaitGroup
	first.Go(func() {
		if _, err := n.CreateVolume(t.Context(), asked("slow", mib, 0, mounted(""))); err != nil {
			t.Error(err)
		}
	})
	<-slow.at
	_, err := n.CreateVolume(t.Context(), asked("slow", mib, 0, mounted("")))
	answered(t, err, "Aborted: under way; ask again")
	id := pool.HandleOf("node-1", "disks", "slow").String()
	answered(t, n.delete(id), "Aborted: ask again")
	answered(t, n.stage(id, "x", mounted("")), "Aborted: ask again")
	if _, err := n.GetCapacity(t.Context(), &spec.GetCapacityRequest{}); err != nil {
		t.Error(err)
	}
	close(slow.begin)
	first.Wait()
	n.must(n.delete(id))
}

// slowPool carves when it is told to.
type slowPool struct {
	pool.Pool
	at, begin chan struct{}
}

func (p *slowPool) Carve(ctx context.Context, s pool.Spec) (pool.Volume, error) {
	p.at <- struct{}{}
	<-p.begin
	return p.Pool.Carve(ctx, s)
}
