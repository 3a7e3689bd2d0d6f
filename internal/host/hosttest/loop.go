// Package hosttest gives tests real block devices and filesystems: loop
// devices on sparse files that live as long as the test. It is imported by
// tests only, and it does not look at or touch a device that it did not make.
package hosttest

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Sizes in bytes, for readable tests. XFS and btrfs need at least MinFS.
const (
	MiB   = int64(1) << 20
	GiB   = int64(1) << 30
	MinFS = 320 * MiB
)

// NewLoop attaches a sparse file of size bytes in t.TempDir to a free loop
// device and returns the device's path, such as /dev/loop7. The device is
// detached when the test ends. It skips the test, with the reason, when the
// machine lets nobody make loop devices.
func NewLoop(t testing.TB, size int64) string {
	t.Helper()
	needRoot(t)
	file, err := os.OpenFile(filepath.Join(t.TempDir(), "disk.img"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatalf("creating the loop device's file: %v", err)
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		t.Fatalf("sizing the loop device's file: %v", err)
	}
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no loop devices here: %v", err)
	}
	defer ctl.Close()
	// Another process may take the free number first; then the next one is asked for.
	for range 100 {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Skipf("no free loop device: %v", err)
		}
		path := "/dev/loop" + strconv.Itoa(n)
		if err := waitFor(func() bool { _, err := os.Stat(path); return err == nil }); err != nil {
			t.Skipf("no device node %s: %v", path, err)
		}
		dev, err := attach(path, file)
		if errors.Is(err, unix.EBUSY) {
			continue
		}
		if err != nil {
			t.Fatalf("attaching %s: %v", path, err)
		}
		t.Cleanup(func() {
			dev.Close()
			detach(t, path, file.Name())
		})
		return path
	}
	t.Fatal("attaching a loop device: every free one was taken by someone else")
	return ""
}

// attach binds file to the loop device at path, atomically with its settings.
// The kernel detaches it by itself when the device that is returned is closed
// and nothing else uses it: also when the test's process is killed.
func attach(path string, file *os.File) (*os.File, error) {
	dev, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	conf := unix.LoopConfig{Fd: uint32(file.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
	copy(conf.Info.File_name[:len(conf.Info.File_name)-1], file.Name())
	err = unix.IoctlLoopConfigure(int(dev.Fd()), &conf)
	if err == nil {
		// The last user may have made the device read-only, which outlasts it.
		err = unix.IoctlSetPointerInt(int(dev.Fd()), unix.BLKROSET, 0)
	}
	if err != nil {
		dev.Close()
		return nil, err
	}
	return dev, nil
}

// detach frees the loop device at path if it is still the one on backing.
func detach(t testing.TB, path, backing string) {
	t.Helper()
	backingFile := filepath.Join("/sys/block", filepath.Base(path), "loop/backing_file")
	ours := func() bool {
		b, err := os.ReadFile(backingFile)
		return err == nil && string(b) == backing+"\n"
	}
	// The kernel detaches for good when the last user closes the device.
	var holder string
	tries := 0
	err := waitFor(func() bool {
		if !ours() {
			return true
		}
		if tries++; tries%100 == 0 {
			if holder = mountedBy(path); holder != "" {
				return true
			}
		}
		dev, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return false
		}
		defer dev.Close()
		_ = unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_CLR_FD, 0)
		return false
	})
	switch {
	case err != nil:
		t.Errorf("detaching %s: still attached to %s", path, backing)
	case holder != "":
		// A mount namespace that was made meanwhile has a copy of the test's
		// mounts, which nobody here can unmount. The kernel has noted the wish.
		t.Logf("%s is mounted in the mount namespace of process %s; it is detached when that ends", path, holder)
	}
}

// mountedBy returns the ID of a process in whose mount namespace the device is
// mounted, or nothing.
func mountedBy(device string) string {
	tables, _ := filepath.Glob("/proc/[0-9]*/mountinfo")
	for _, table := range tables {
		f, err := os.Open(table)
		if err != nil {
			continue // the process ended
		}
		mounts, _ := mountinfo.GetMountsFromReader(f, func(m *mountinfo.Info) (skip, stop bool) {
			return m.Source != device, m.Source == device
		})
		f.Close()
		if len(mounts) > 0 {
			return filepath.Base(filepath.Dir(table))
		}
	}
	return ""
}

// needRoot skips the test when it does not run as root.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// waitFor asks cond until it holds, for at most ten seconds.
func waitFor(cond func() bool) error {
	deadline := time.Now().Add(10 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			return errors.New("not within ten seconds")
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}
