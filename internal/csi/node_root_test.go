//go:build root

package csi_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/pool/btrfs"
)

// TestRootFilesystemOnDevice: a volume with each filesystem goes the whole way,
// with mount options, and grows while it is mounted and while it is not.
func TestRootFilesystemOnDevice(t *testing.T) {
	for _, fsType := range []string{"xfs", "btrfs"} { // ext4 grows in a machine, as host.TestVMGrow says
		t.Run(fsType, func(t *testing.T) {
			n := disks(t)
			empty := n.all()
			c := mounted(fsType, "noatime", "discard")
			id := n.made(asked("a", 320*mib, 0, c))
			n.must(n.stage(id, "a", c))
			n.must(n.stage(id, "a", c))
			n.must(n.publish(id, "a", "pod-1", c, false))
			n.must(n.publish(id, "a", "pod-1", c, false))
			n.must(n.publish(id, "a", "pod-2", c, true))
			if !n.used[pool.ID("a")] {
				t.Error("pods have it, and nobody was told")
			}
			n.must(os.WriteFile(filepath.Join(n.path("pod-1"), "file"), []byte("x"), 0o600))
			if err := os.WriteFile(filepath.Join(n.path("pod-2"), "file"), nil, 0o600); !errors.Is(err, unix.EROFS) {
				t.Errorf("writing as a pod that may read: %v", err)
			}
			if all := n.all(); strings.Count(all, "noatime") != 3 {
				t.Errorf("not all mounts are noatime:\n%s", all)
			}

			grown := n.grown(id, 500*mib)
			before := n.total(id, "pod-1")
			if _, err := n.n.NodeExpandVolume(t.Context(), &spec.NodeExpandVolumeRequest{VolumeId: id, VolumePath: n.path("pod-1"), CapacityRange: &spec.CapacityRange{RequiredBytes: 500 * mib}}); err != nil || !grown {
				t.Errorf("growing: %v, to be called on the node: %v", err, grown)
			}
			if after := n.total(id, "pod-1"); after < before+100*mib {
				t.Errorf("grown from %d to %d", before, after)
			}
			before = n.total(id, "pod-1")
			n.must(n.unpublish(id, "pod-1"))
			n.must(n.unpublish(id, "pod-2"))
			n.must(n.unstage(id, "a"))
			n.must(n.unstage(id, "a"))
			n.grown(id, 700*mib)
			n.must(n.stage(id, "a", c))
			n.must(n.publish(id, "a", "pod-1", c, false))
			if after := n.total(id, "pod-1"); after < before+100*mib {
				t.Errorf("grown while unused from %d to %d", before, after)
			}
			answered(t, n.delete(id), "FailedPrecondition: end what uses it first")
			n.must(n.unpublish(id, "pod-1"))
			answered(t, n.delete(id), "FailedPrecondition: end what uses it first")
			n.must(n.unstage(id, "a"))
			n.must(n.delete(id))
			if left := n.all(); left != empty {
				t.Errorf("at the end there is\n%s\nin the beginning there was\n%s", left, empty)
			}
		})
	}
}

func (n *node) grown(id string, bytes int64) (onNode bool) {
	n.Helper()
	r, err := n.ControllerExpandVolume(n.Context(), &spec.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: &spec.CapacityRange{RequiredBytes: bytes}})
	n.must(err)
	return r.NodeExpansionRequired
}

func (n *node) total(id, pod string) int64 {
	n.Helper()
	r, err := n.n.NodeGetVolumeStats(n.Context(), &spec.NodeGetVolumeStatsRequest{VolumeId: id, VolumePath: n.path(pod)})
	n.must(err)
	return r.Usage[0].Total
}

// TestRootNodeRefused: what a node does not do for a pod.
func TestRootNodeRefused(t *testing.T) {
	n := disks(t)
	ext4, other := n.made(asked("a", 20*mib, 0, mounted("ext4"))), n.made(asked("b", 20*mib, 0, mounted("ext4")))
	device := n.made(asked("c", mib, 0, raw()))
	unstaged, refused := n.made(asked("unstaged", 20*mib, 0, mounted("ext4"))), n.made(asked("refused", 20*mib, 0, mounted("ext4")))
	held := n.made(asked("held", 20*mib, 0, mounted("ext4")))
	n.held["held"] = true
	emptied, swapped := n.made(asked("emptied", 20*mib, 0, mounted("ext4"))), n.made(asked("swapped", 320*mib, 0, mounted("xfs")))
	n.must(n.spoil("emptied", func(device string) error { return os.WriteFile(device, make([]byte, mib), 0) }))
	n.must(n.spoil("swapped", func(device string) error { return host.MakeFilesystem(t.Context(), device, "ext4", true) }))
	n.must(n.stage(ext4, "a", mounted("")))
	n.must(n.stage(other, "b", mounted("")))
	n.must(n.publish(ext4, "a", "pod", mounted(""), false))
	single := func() *spec.VolumeCapability {
		return in(spec.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER, mounted(""))
	}
	raws := in(spec.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER, raw())
	n.must(n.stage(device, "c", raws))
	n.must(n.publish(device, "c", "device", raws, false))

	before := n.all()
	for _, c := range []struct {
		err  error
		want string
	}{
		{n.stage("", "x", mounted("")), "InvalidArgument: names no volume"},
		{n.stage("a", "x", mounted("")), "NotFound: <node>/<pool>/<volume>"},
		{n.stage(ext4+"/..", "x", mounted("")), "NotFound: <node>/<pool>/<volume>"},
		{n.stage(strings.Replace(ext4, "/a", "/..", 1), "x", mounted("")), "NotFound: <node>/<pool>/<volume>"},
		{n.stage(strings.Replace(ext4, "/a", "/none", 1), "x", mounted("")), "NotFound: no such volume"},
		{n.stage(strings.Replace(ext4, "disks", "other", 1), "x", mounted("")), "NotFound: its pools: disks"},
		{n.stage(pool.HandleOf("node-2", "disks", "a").String(), "x", mounted("")), "NotFound: not on node node-1"},
		{n.stage(ext4, "x", nil), "InvalidArgument: no volume capability"},
		{n.stage(ext4, "x", raw()), "InvalidArgument: is Filesystem, not Block"},
		{n.stage(ext4, "x", mounted("xfs")), "InvalidArgument: holds the filesystem \"ext4\", not \"xfs\""},
		{n.stage(ext4, "x", mounted("", "nouuid")), "InvalidArgument: \"nouuid\" … allowed: … discard"},
		{n.stage(refused, "x", mounted("", "data=nonsense")), "InvalidArgument: nonsense … ext4: Bad value for 'data'"},
		{n.stage(ext4, "x", in(spec.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER, mounted(""))), "InvalidArgument: allowed: SINGLE_NODE_WRITER"},
		{n.stage(ext4, "none/x", mounted("")), "FailedPrecondition: not there; make it first"},
		{n.stage(ext4, "a", mounted("", "ro")), "AlreadyExists: other options"},
		{n.stage(ext4, "b", mounted("")), "FailedPrecondition: is mounted there"},
		{n.stage(held, "x", mounted("")), "FailedPrecondition: in quarantine"},
		{n.stage(emptied, "x", mounted("")), "FailedPrecondition: holds the filesystem none, and ext4 was made on it; none is made anew"},
		{n.stage(swapped, "x", mounted("")), "FailedPrecondition: holds the filesystem ext4, and xfs was made on it"},
		{n.publish(ext4, "x", "new", mounted(""), false), "FailedPrecondition: stage it there first"},
		{n.publish(unstaged, "x", "new", mounted(""), false), "FailedPrecondition: stage it there first"},
		{n.publish(ext4, "b", "new", mounted(""), false), "FailedPrecondition: stage it there first"},
		{n.publish(ext4, "a", "none/new", mounted(""), false), "FailedPrecondition: not there; make it first"},
		{n.publish(ext4, "a", "pod", mounted(""), true), "AlreadyExists: other options"},
		{n.publish(other, "b", "pod", mounted(""), false), "FailedPrecondition: something else is mounted there"},
		{n.publish(ext4, "a", "new", single(), false), "FailedPrecondition: ReadWriteOncePod … /pods/pod"},
		{n.publish(device, "c", "new", raws, false), "FailedPrecondition: ReadWriteOncePod … /pods/device"},
		{n.publish(held, "x", "new", mounted(""), false), "FailedPrecondition: in quarantine"},
		{n.unpublish(pool.HandleOf("node-2", "disks", "a").String(), "pod"), "NotFound: not on node node-1"},
		{n.unstage(device, "c"), "FailedPrecondition: /pods/device; unmount it first"},
		{n.at("NodeStage", ext4, ""), "InvalidArgument: absolute path"},
		{n.at("NodeStage", ext4, "staged"), "InvalidArgument: absolute path"},
		{n.at("NodeStage", ext4, n.dir+"/pods/../pods/x"), "InvalidArgument: without . and .."},
		{n.at("NodeUnstage", ext4, ""), "InvalidArgument: absolute path"},
		{n.at("NodeUnstage", ext4, n.dir+"/pods/../pods/a-staged"), "InvalidArgument: without . and .."},
		{n.at("NodePublish", ext4, ""), "InvalidArgument: absolute path"},
		{n.at("NodePublish", ext4, n.dir+"/pods/./x"), "InvalidArgument: without . and .."},
		{n.at("NodePublish", ext4, n.path("x")), "FailedPrecondition: stage the volume first"},
		{n.at("NodeUnpublish", ext4, "pod"), "InvalidArgument: absolute path"},
		{n.at("NodeGetVolumeStats", ext4, ""), "InvalidArgument: no volume path"},
		{n.at("NodeGetVolumeStats", ext4, n.path("x")), "NotFound: nothing is at"},
		{n.at("NodeGetVolumeStats", ext4, n.dir), "NotFound: not mounted at"},
		{n.at("NodeExpand", ext4, ""), "InvalidArgument: no volume path"},
		{n.at("NodeExpand", ext4, n.path("x")), "NotFound: nothing is at"},
		{n.at("NodeExpand", ext4, n.dir), "FailedPrecondition: not mounted there"},
		{n.at("NodeExpand", ext4, n.path("b-staged")), "FailedPrecondition: not mounted there"},
		{n.delete(""), "InvalidArgument: names no volume"},
		{n.delete("../../etc"), "OK: "},
		{n.delete(pool.HandleOf("node-2", "disks", "a").String()), "FailedPrecondition: not on node node-1"},
		{n.delete(strings.Replace(ext4, "disks", "other", 1)), "FailedPrecondition: its pools: disks"},
		{n.delete(held), "FailedPrecondition: PersistentVolume speaks for it"},
		{n.delete(device), "FailedPrecondition: /pods/device; unmount it first"},
		{n.expand(ext4, -1, 0), "InvalidArgument: allowed: 0 and more"},
		{n.expand(ext4, 2*mib, mib), "InvalidArgument: over the limit"},
		{n.expand(ext4, 1, mib), "OutOfRange: never shrinks"},
		{n.expand(ext4, 1<<50, 0), "ResourceExhausted: are free"},
	} {
		answered(t, c.err, c.want)
	}
	if after := n.all(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	for id, pod := range map[string]string{ext4: "pod", device: "device"} {
		n.must(n.unpublish(id, pod))
	}
	for id, name := range map[string]string{ext4: "a", other: "b", device: "c"} {
		n.must(n.unstage(id, name))
	}
}

// at calls what is named with a path of a volume.
func (n *node) at(call, id, path string) (err error) {
	switch call {
	case "NodeStage":
		_, err = n.n.NodeStageVolume(n.Context(), &spec.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: path, VolumeCapability: mounted("")})
	case "NodeUnstage":
		_, err = n.n.NodeUnstageVolume(n.Context(), &spec.NodeUnstageVolumeRequest{VolumeId: id, StagingTargetPath: path})
	case "NodePublish":
		_, err = n.n.NodePublishVolume(n.Context(), &spec.NodePublishVolumeRequest{VolumeId: id, TargetPath: path, VolumeCapability: mounted("")})
	case "NodeUnpublish":
		_, err = n.n.NodeUnpublishVolume(n.Context(), &spec.NodeUnpublishVolumeRequest{VolumeId: id, TargetPath: path})
	case "NodeGetVolumeStats":
		_, err = n.n.NodeGetVolumeStats(n.Context(), &spec.NodeGetVolumeStatsRequest{VolumeId: id, VolumePath: path})
	case "NodeExpand":
		_, err = n.n.NodeExpandVolume(n.Context(), &spec.NodeExpandVolumeRequest{VolumeId: id, VolumePath: path})
	}
	return err
}

func (n *node) expand(id string, bytes, limit int64) error {
	_, err := n.ControllerExpandVolume(n.Context(), &spec.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: &spec.CapacityRange{RequiredBytes: bytes, LimitBytes: limit}})
	return err
}

// spoil changes a volume's device behind Berth's back.
func (n *node) spoil(id pool.ID, do func(device string) error) error {
	at, err := n.Open(n.Context(), id)
	if err == nil {
		err = do(at.Device)
	}
	return errors.Join(err, n.Close(context.Background(), id))
}

// btrfsDir is a mounted btrfs of 4 GiB, sparse.
func btrfsDir(t *testing.T) string {
	tmp := t.TempDir()
	image, at := filepath.Join(tmp, "image"), filepath.Join(tmp, "pool")
	run(t, "truncate", "-s", "4G", image)
	run(t, "mkfs.btrfs", "-q", image)
	run(t, "mkdir", at)
	run(t, "mount", "-o", "loop", image, at)
	t.Cleanup(func() { run(t, "umount", at) })
	return at
}

// TestRootStats: a directory of a btrfs has the figures of its own, not those of
// the disk.
func TestRootStats(t *testing.T) {
	p, err := btrfs.Open(t.Context(), folder(t, btrfsDir(t)), "/sys", pool.Reserve{})
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t, t.TempDir(), p)
	c := mounted("")
	id := n.made(asked("a", 64*mib, 0, c))
	n.must(n.stage(id, "a", c))
	n.must(n.publish(id, "a", "pod", c, false))
	n.must(os.WriteFile(filepath.Join(n.path("pod"), "file"), make([]byte, 16*mib), 0o600))
	f, err := os.Open(n.path("pod"))
	n.must(err)
	n.must(errors.Join(unix.Syncfs(int(f.Fd())), f.Close()))
	r, err := n.n.NodeGetVolumeStats(t.Context(), &spec.NodeGetVolumeStatsRequest{VolumeId: id, VolumePath: n.path("pod")})
	n.must(err)
	u := r.Usage[0]
	if len(r.Usage) != 1 || u.Total != 64*mib || u.Used < 16*mib || u.Used > 17*mib || u.Available != u.Total-u.Used {
		t.Errorf("with a file of 16 MiB it says %v", r.Usage)
	}
	n.must(n.unpublish(id, "pod"))
	n.must(n.unstage(id, "a"))
	n.must(n.delete(id))
}
