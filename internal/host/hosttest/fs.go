package hosttest

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// mkfs holds the command that makes each kind of filesystem, without asking
// questions and without discarding, which a sparse file does not need.
var mkfs = map[string][]string{
	"ext4":  {"mkfs.ext4", "-q", "-F", "-E", "nodiscard"},
	"xfs":   {"mkfs.xfs", "-q", "-f", "-K"},
	"btrfs": {"mkfs.btrfs", "-q", "-f", "-K"},
}

// NewFS makes a filesystem of the kind ext4, xfs or btrfs on a loop device of
// size bytes and mounts it. It returns the mount point. When the test ends,
// whatever is mounted there or beneath is unmounted and the device detached.
// A missing tool or an unknown kind of filesystem skips the test.
func NewFS(t testing.TB, kind string, size int64) string {
	t.Helper()
	mountPoint := t.TempDir()
	Mount(t, Format(t, kind, NewLoop(t, size)), mountPoint, kind)
	return mountPoint
}

// Format makes a filesystem of the kind on the device, and returns the device.
func Format(t testing.TB, kind, device string) string {
	t.Helper()
	command, ok := mkfs[kind]
	if !ok {
		t.Fatalf("no mkfs known for %q", kind)
	}
	if _, err := exec.LookPath(command[0]); err != nil {
		t.Skipf("%s is not installed", command[0])
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), command[0], append(command[1:len(command):len(command)], device)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("running %s: %v\n%s", strings.Join(cmd.Args, " "), err, &out)
	}
	return device
}

// Mount mounts the device at the directory and unmounts it, with all that is
// mounted beneath, when the test ends.
func Mount(t testing.TB, device, mountPoint, kind string) {
	t.Helper()
	needRoot(t)
	if err := unix.Mount(device, mountPoint, kind, 0, ""); err != nil {
		if kinds, _ := os.ReadFile("/proc/filesystems"); !strings.Contains(string(kinds), "\t"+kind+"\n") {
			t.Skipf("this kernel has no %s", kind)
		}
		t.Fatalf("mounting %s at %s: %v", device, mountPoint, err)
	}
	t.Cleanup(func() { unmount(t, mountPoint) })
}

// unmount takes down the mounts at and beneath the path, the newest first.
func unmount(t testing.TB, path string) {
	t.Helper()
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(path))
	if err != nil {
		t.Errorf("reading mountinfo: %v", err)
		return
	}
	for _, m := range slices.Backward(mounts) {
		if err := unix.Unmount(m.Mountpoint, 0); err == nil {
			continue
		}
		t.Errorf("unmounting %s: still in use at the end of the test", m.Mountpoint)
		_ = unix.Unmount(m.Mountpoint, unix.MNT_DETACH)
	}
}
