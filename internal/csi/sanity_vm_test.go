//go:build vm

package csi_test

import (
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/berth-storage/berth/internal/csi"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/pool/lvm"
	"github.com/berth-storage/berth/internal/pool/xfs"
)

// serve serves a node's pool and returns the kubelet's directory.
func serve(t *testing.T, o *one) (kubelet string) {
	kubelet = kubeletDir(t)
	s := &csi.Server{Driver: "berth.storage", Version: "test", Node: "node-1", Pools: o, Keeper: o, Log: slog.New(slog.DiscardHandler)}
	start(t, s, kubelet)
	return kubelet
}

// sane runs the conformance suite of the CSI project on pools, each with
// directories or filesystems, and with raw devices.
func sane(t *testing.T, pools map[string]pool.Pool) {
	for name, p := range pools {
		address := "unix:" + csi.SocketPath(serve(t, newOne(p)), "berth.storage")
		for _, access := range []string{"mount", "block"} {
			tmp := t.TempDir()
			c := sanity.NewTestConfig()
			c.Address = address
			c.TargetPath, c.StagingPath = filepath.Join(tmp, "target"), filepath.Join(tmp, "staging")
			c.TestVolumeSize, c.TestVolumeExpandSize = 16<<20, 32<<20
			c.TestVolumeAccessType = access
			c.IdempotentCount = 2 // ten where nothing is emulated, TestRootSanity
			ginkgo.Describe(name+" "+access, func() { sanity.GinkgoTest(&c) })
		}
	}
	gomega.RegisterFailHandler(ginkgo.Fail)
	ginkgo.RunSpecs(t, "CSI")
	for name, p := range pools {
		if left, err := p.Volumes(t.Context()); err != nil || len(left) > 0 {
			t.Errorf("the suite has left %v in %s (%v)", left, name, err)
		}
	}
}

// TestVMSanity: the pools that need a kernel of their own.
func TestVMSanity(t *testing.T) {
	run(t, "modprobe", "-a", "loop", "xfs", "dm-mod") // the machine has no daemon that does
	tmp := t.TempDir()
	image, at := filepath.Join(tmp, "image"), filepath.Join(tmp, "pool")
	run(t, "truncate", "-s", "4G", image)
	run(t, "mkfs.xfs", "-q", image)
	run(t, "mkdir", at)
	run(t, "mount", "-o", "loop,prjquota", image, at)
	t.Cleanup(func() { run(t, "umount", at) })
	quota, err := xfs.Open(t.Context(), folder(t, at), pool.Reserve{})
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(tmp, "disk")
	run(t, "truncate", "-s", "2G", disk)
	out, err := exec.Command("losetup", "--find", "--show", disk).Output()
	if err != nil {
		t.Fatal(err)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { run(t, "losetup", "--detach", device) })
	run(t, "vgcreate", "--quiet", "--yes", "sanity", device)
	t.Cleanup(func() { run(t, "vgremove", "--quiet", "--yes", "--force", "sanity") })
	logical, err := lvm.Open(t.Context(), lvm.Options{VolumeGroup: "sanity", Stripes: 1})
	if err != nil {
		t.Fatal(err)
	}
	// As in a container, which no udev daemon answers. It would look at each new device.
	run(t, "udevadm", "control", "--stop-exec-queue")
	t.Cleanup(func() { run(t, "udevadm", "control", "--start-exec-queue") })
	sane(t, map[string]pool.Pool{"xfs": quota, "lvm": logical})
}
