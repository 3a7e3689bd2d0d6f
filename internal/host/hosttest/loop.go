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
		err = attach(path, file)
		if errors.Is(err, unix.EBUSY) {
			continue
		}
		if err != nil {
			t.Fatalf("attaching %s: %v", path, err)
		}
		t.Cleanup(func() { detach(t, path, file.Name()) })
		return path
	}
	t.Fatal("attaching a loop device: every free one was taken by someone else")
	return ""
}

// attach binds file to the loop device at path, atomically with its settings.
func attach(path string, file *os.File) error {
	dev, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer dev.Close()
	conf := unix.LoopConfig{Fd: uint32(file.Fd())}
	copy(conf.Info.File_name[:len(conf.Info.File_name)-1], file.Name())
	if err := unix.IoctlLoopConfigure(int(dev.Fd()), &conf); err != nil {
		return err
	}
	// The last user may have made the device read-only, which outlasts it.
	return unix.IoctlSetPointerInt(int(dev.Fd()), unix.BLKROSET, 0)
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
	err := waitFor(func() bool {
		if !ours() {
			return true
		}
		dev, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return false
		}
		defer dev.Close()
		_ = unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_CLR_FD, 0)
		return false
	})
	if err != nil {
		t.Errorf("detaching %s: still attached to %s", path, backing)
	}
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
