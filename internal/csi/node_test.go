//go:build root || vm

package csi_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/moby/sys/mountinfo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/berth-storage/berth/internal/csi"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// A node is one whose CSI a test calls as Kubernetes does.
type node struct {
	*testing.T
	*one
	spec.ControllerClient
	n   spec.NodeClient
	dir string // all that the node has is in here, but the sockets
}

func newNode(t *testing.T, dir string, p pool.Pool) *node {
	n := &node{T: t, one: newOne(p), dir: dir}
	s := &csi.Server{Driver: "berth.storage", Node: "node-1", Pools: n.one, Keeper: n.one, Log: slog.New(slog.DiscardHandler)}
	kubelet := kubeletDir(t)
	start(t, s, kubelet)
	c := dial(t, csi.SocketPath(kubelet, "berth.storage"))
	n.ControllerClient, n.n = spec.NewControllerClient(c), spec.NewNodeClient(c)
	n.must(os.Mkdir(filepath.Join(dir, "pods"), 0o755))
	t.Cleanup(n.clean)
	return n
}

// clean takes away what a test that failed has left.
func (n *node) clean() {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(filepath.Join(n.dir, "pods")))
	for _, m := range slices.Backward(mounts) {
		err = errors.Join(err, host.Unmount(m.Mountpoint))
	}
	volumes, listErr := n.Volumes(context.Background())
	for _, v := range volumes {
		err = errors.Join(err, n.Close(context.Background(), v.ID))
	}
	if err = errors.Join(err, listErr); err != nil {
		n.Error(err)
	}
}

// dial waits for the socket with each call, but not for ever.
func dial(t *testing.T, socket string) *grpc.ClientConn {
	limited := func(ctx context.Context, method string, req, reply any, c *grpc.ClientConn, call grpc.UnaryInvoker, o ...grpc.CallOption) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return call(ctx, method, req, reply, c, o...)
	}
	c, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)), grpc.WithUnaryInterceptor(limited),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1, MaxDelay: 10 * time.Millisecond}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (n *node) path(name string) string { return filepath.Join(n.dir, "pods", name) }

func (n *node) must(err error) {
	n.Helper()
	if err != nil {
		n.Fatal(err)
	}
}

// made makes a volume and returns its handle.
func (n *node) made(r *spec.CreateVolumeRequest) string {
	n.Helper()
	v, err := n.CreateVolume(n.Context(), r)
	n.must(err)
	return v.Volume.VolumeId
}

// stage and publish are a pod's, at the places of that name.
func (n *node) stage(id, name string, c *spec.VolumeCapability) error {
	_, err := n.n.NodeStageVolume(n.Context(), &spec.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: n.path(name + "-staged"), VolumeCapability: c})
	return err
}

func (n *node) publish(id, name, pod string, c *spec.VolumeCapability, readOnly bool) error {
	_, err := n.n.NodePublishVolume(n.Context(), &spec.NodePublishVolumeRequest{
		VolumeId: id, StagingTargetPath: n.path(name + "-staged"), TargetPath: n.path(pod), VolumeCapability: c, Readonly: readOnly,
	})
	return err
}

func (n *node) unpublish(id, pod string) error {
	_, err := n.n.NodeUnpublishVolume(n.Context(), &spec.NodeUnpublishVolumeRequest{VolumeId: id, TargetPath: n.path(pod)})
	return err
}

func (n *node) unstage(id, name string) error {
	_, err := n.n.NodeUnstageVolume(n.Context(), &spec.NodeUnstageVolumeRequest{VolumeId: id, StagingTargetPath: n.path(name + "-staged")})
	return err
}

func (n *node) delete(id string) error {
	_, err := n.DeleteVolume(n.Context(), &spec.DeleteVolumeRequest{VolumeId: id})
	return err
}

// all is what there is on the node: volumes, mounts, files, devices.
func (n *node) all() string {
	n.Helper()
	volumes, err := n.Volumes(context.Background())
	n.must(err)
	lines := []string{fmt.Sprint(volumes)}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(n.dir))
	n.must(err)
	for _, m := range mounts {
		lines = append(lines, fmt.Sprintf("%s at %s (%s)", m.Source, m.Mountpoint, m.Options))
	}
	n.must(filepath.WalkDir(n.dir, func(path string, _ fs.DirEntry, err error) error {
		lines = append(lines, path)
		return err
	}))
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	n.must(err)
	for _, file := range loops {
		if b, _ := os.ReadFile(file); strings.HasPrefix(string(b), n.dir) {
			lines = append(lines, file+" "+string(b))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// answered fails unless an error is CODE with text that has all of words.
func answered(t *testing.T, err error, want string) {
	t.Helper()
	code, words, _ := strings.Cut(want, ": ")
	s := status.Convert(err)
	if s.Code().String() != code {
		t.Errorf("the answer is %s (%s); want %s", s.Code(), s.Message(), want)
	}
	for w := range strings.SplitSeq(words, " … ") {
		if !strings.Contains(s.Message(), w) {
			t.Errorf("the answer is %q; want it to say %q", s.Message(), w)
		}
	}
}

const mode = spec.VolumeCapability_AccessMode_SINGLE_NODE_WRITER

func mounted(fsType string, options ...string) *spec.VolumeCapability {
	return &spec.VolumeCapability{
		AccessMode: &spec.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &spec.VolumeCapability_Mount{Mount: &spec.VolumeCapability_MountVolume{FsType: fsType, MountFlags: options}},
	}
}

func raw() *spec.VolumeCapability {
	return &spec.VolumeCapability{AccessMode: &spec.VolumeCapability_AccessMode{Mode: mode}, AccessType: &spec.VolumeCapability_Block{Block: &spec.VolumeCapability_BlockVolume{}}}
}

func in(m spec.VolumeCapability_AccessMode_Mode, c *spec.VolumeCapability) *spec.VolumeCapability {
	c.AccessMode.Mode = m
	return c
}

func asked(name string, bytes, limit int64, capabilities ...*spec.VolumeCapability) *spec.CreateVolumeRequest {
	return &spec.CreateVolumeRequest{Name: name, CapacityRange: &spec.CapacityRange{RequiredBytes: bytes, LimitBytes: limit}, VolumeCapabilities: capabilities}
}
