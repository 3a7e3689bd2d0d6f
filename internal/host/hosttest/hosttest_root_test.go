//go:build root

package hosttest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/moby/sys/mountinfo"

	"github.com/berth-storage/berth/internal/host/hosttest"
)

func TestNewFSLeavesNothing(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			var mountPoint, backing string
			var sysfs string // says which file a loop device is on
			t.Run("use", func(t *testing.T) {
				mountPoint = hosttest.NewFS(t, kind, hosttest.MinFS)
				mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(mountPoint))
				if err != nil || len(mounts) != 1 || mounts[0].FSType != kind {
					t.Fatalf("mounts at %s: %v, %v; want one of %s", mountPoint, mounts, err, kind)
				}
				sysfs = filepath.Join("/sys/block", filepath.Base(mounts[0].Source), "loop/backing_file")
				backing = read(sysfs)
				if err := os.WriteFile(filepath.Join(mountPoint, "file"), []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			})
			if backing == "" {
				t.Skip("no filesystem was made")
			}
			if mounted, _ := mountinfo.Mounted(mountPoint); mounted {
				t.Errorf("%s is still mounted", mountPoint)
			}
			if read(sysfs) == backing {
				t.Errorf("a loop device is still attached to %s", backing)
			}
		})
	}
}

// TestNewFSInAnotherNamespace: a mount namespace that copied the mounts keeps
// the device for a while, which is not the test's fault.
func TestNewFSInAnotherNamespace(t *testing.T) {
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("unshare is not installed")
	}
	var holder *exec.Cmd
	t.Cleanup(func() {
		if holder != nil {
			_ = holder.Process.Kill()
			_ = holder.Wait()
		}
	})
	ok := t.Run("use", func(t *testing.T) {
		hosttest.NewFS(t, "ext4", 16*hosttest.MiB)
		holder = exec.Command("unshare", "-m", "sh", "-c", "echo ready; exec sleep 60")
		out, err := holder.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := holder.Start(); err != nil {
			t.Skipf("no mount namespaces: %v", err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Skipf("no mount namespaces: %v", err)
		}
	})
	if !ok {
		t.Error("the copy of the mount failed the test")
	}
}

// read returns the file's text, or nothing when it cannot be read.
func read(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}
