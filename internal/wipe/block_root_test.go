//go:build root

package wipe_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/host/hosttest"
	"github.com/berth-storage/berth/internal/wipe"
)

func anyDevice(int) error { return nil }

// dirtyLoop is a loop device with a tenant's bytes at its ends and middle.
func dirtyLoop(t *testing.T, size int64) string {
	t.Helper()
	path := hosttest.NewLoop(t, size)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	for _, off := range []int64{0, size / 2, size - 1<<20} {
		_, err := f.WriteAt(bytes.Repeat([]byte("tenant--"), 1<<17), off)
		must(t, err)
	}
	must(t, f.Sync())
	return path
}

// zeroLoop fails the test unless the whole device reads as zeroes, through the
// page cache and beneath it.
func zeroLoop(t *testing.T, path string) {
	t.Helper()
	for _, flags := range []int{0, unix.O_DIRECT} {
		fd, err := unix.Open(path, unix.O_RDONLY|flags, 0)
		must(t, err)
		must(t, host.Aligned(1<<20, func(buf []byte) error {
			zeroes := make([]byte, len(buf))
			for {
				n, err := unix.Read(fd, buf)
				if err != nil || n == 0 {
					return err
				}
				if !bytes.Equal(buf[:n], zeroes[:n]) {
					t.Errorf("%s is not zero (flags %#x)", path, flags)
					return nil
				}
			}
		}))
		must(t, unix.Close(fd))
	}
}

func TestBlockOnLoop(t *testing.T) {
	const size = 300*hosttest.MiB + 512
	for _, method := range []wipe.Method{wipe.MethodDiscard, wipe.MethodZero} {
		t.Run(string(method), func(t *testing.T) {
			path := dirtyLoop(t, size)
			b, err := host.OpenBlock(path, anyDevice)
			must(t, err)
			defer b.Close()
			var checkpoints []int64
			result, err := wipe.Block(t.Context(), b, wipe.BlockOptions{
				Method:     method,
				Checkpoint: func(off int64) error { checkpoints = append(checkpoints, off); return nil },
			})
			must(t, err)
			if method == wipe.MethodDiscard && result.Method == wipe.MethodZero {
				t.Skip("loop devices here do not guarantee zeroes after a discard")
			}
			if result.Method != method || result.Bytes != size || result.Verified != size {
				t.Errorf("%+v", result)
			}
			if checkpoints[len(checkpoints)-1] != size {
				t.Errorf("checkpoints: %d", checkpoints)
			}
			zeroLoop(t, path)
			t.Logf("%s of %d MiB: %v", result.Method, size>>20, result.Duration)
		})
	}
}

// TestLargeBlock: 3 TiB, of which samples are read back.
func TestLargeBlock(t *testing.T) {
	const size = 3 << 40
	b, err := host.OpenBlock(dirtyLoop(t, size), anyDevice)
	must(t, err)
	defer b.Close()
	result, err := wipe.Block(t.Context(), b, wipe.BlockOptions{})
	must(t, err)
	if result.Bytes != size || result.Verified != hosttest.GiB {
		t.Errorf("%+v", result)
	}
	t.Logf("%v", result.Duration)
}

// TestDirtyPageCache: bytes that a holder has written but not synced do not
// come back, and it reads zeroes.
func TestDirtyPageCache(t *testing.T) {
	for _, method := range []wipe.Method{wipe.MethodDiscard, wipe.MethodZero} {
		t.Run(string(method), func(t *testing.T) {
			path := hosttest.NewLoop(t, 64*hosttest.MiB)
			holder, err := os.OpenFile(path, os.O_RDWR, 0)
			must(t, err)
			defer holder.Close()
			_, err = holder.Write(bytes.Repeat([]byte("tenant--"), 8<<17))
			must(t, err)
			b, err := host.OpenBlock(path, anyDevice)
			must(t, err)
			_, err = wipe.Block(t.Context(), b, wipe.BlockOptions{Method: method})
			must(t, err)
			must(t, b.Close())
			must(t, holder.Sync())
			_, err = holder.Seek(0, io.SeekStart)
			must(t, err)
			got, err := io.ReadAll(holder)
			must(t, err)
			if !bytes.Equal(got, make([]byte, 64<<20)) {
				t.Error("the holder still reads its bytes")
			}
			zeroLoop(t, path)
		})
	}
}

func TestOpenBlockRefuses(t *testing.T) {
	refuse := func(t *testing.T, path string, check func(int) error, want error) {
		t.Helper()
		b, err := host.OpenBlock(path, check)
		if err == nil {
			b.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("error: %v, want %v", err, want)
		}
	}
	t.Run("mounted", func(t *testing.T) {
		device := hosttest.Format(t, "ext4", hosttest.NewLoop(t, 16*hosttest.MiB))
		hosttest.Mount(t, device, t.TempDir(), "ext4")
		refuse(t, device, anyDevice, host.ErrBusy)
	})
	t.Run("claimed", func(t *testing.T) {
		device := hosttest.NewLoop(t, hosttest.MiB)
		first, err := host.OpenBlock(device, anyDevice)
		must(t, err)
		defer first.Close()
		refuse(t, device, anyDevice, host.ErrBusy)
	})
	t.Run("another device", func(t *testing.T) {
		device := dirtyLoop(t, 4*hosttest.MiB)
		another := errors.New("another device")
		var asked int
		refuse(t, device, func(fd int) error {
			_, err := unix.IoctlGetInt(fd, unix.BLKSSZGET)
			asked++
			return errors.Join(another, err)
		}, another)
		head := make([]byte, 8)
		f, err := os.Open(device)
		must(t, err)
		defer f.Close()
		_, err = f.Read(head)
		must(t, err)
		if asked != 1 || string(head) != "tenant--" {
			t.Errorf("asked %d times; the device begins with %q", asked, head)
		}
	})
	t.Run("link", func(t *testing.T) {
		link := filepath.Join(t.TempDir(), "link")
		must(t, os.Symlink(hosttest.NewLoop(t, hosttest.MiB), link))
		refuse(t, link, anyDevice, host.ErrNotBlock)
	})
	t.Run("no device", func(t *testing.T) {
		fifo := filepath.Join(t.TempDir(), "fifo")
		must(t, unix.Mkfifo(fifo, 0o600))
		for _, path := range []string{fifo, write(t, fifo+"-file", "x"), "/dev/null", filepath.Dir(fifo)} {
			refuse(t, path, anyDevice, host.ErrNotBlock)
		}
	})
	t.Run("read-only", func(t *testing.T) {
		device := hosttest.NewLoop(t, hosttest.MiB)
		f, err := os.OpenFile(device, os.O_RDWR, 0)
		must(t, err)
		defer f.Close()
		must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, 1))
		// The kernel keeps this for the device's next user.
		defer func() { must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, 0)) }()
		refuse(t, device, anyDevice, host.ErrReadOnly)
	})
}
