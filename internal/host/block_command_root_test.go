//go:build root

package host_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/host/hosttest"
)

// writer is a command that writes to the device through the page cache.
func writer(device string) host.Command {
	return host.Command{Args: []string{"/bin/sh", "-c", `printf cleaned | dd of="$0" conv=notrunc status=none`, device}}
}

// head is what is on the device itself, not in its page cache: the start of the
// file behind it. A direct read would write the page cache out first.
func head(t *testing.T, device string) string {
	t.Helper()
	backing, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(device), "loop/backing_file"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(strings.TrimSpace(string(backing)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 512)
	if _, err := f.Read(buf); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimRight(buf, "\x00"))
}

func TestRunOnBlock(t *testing.T) {
	device := hosttest.NewLoop(t, hosttest.MiB)
	var checks []string
	err := host.RunOnBlock(t.Context(), device, func(fd int) error {
		_, err := unix.IoctlGetInt(fd, unix.BLKSSZGET)
		checks = append(checks, head(t, device))
		return err
	}, writer(device))
	if err != nil || len(checks) != 2 || checks[0] != "" || checks[1] != "cleaned" {
		t.Errorf("error: %v; on the device at each check: %q", err, checks)
	}
}

func TestRunOnBlockRefuses(t *testing.T) {
	refuse := func(t *testing.T, path string, check func(int) error, want error) {
		t.Helper()
		mark := filepath.Join(t.TempDir(), "mark")
		err := host.RunOnBlock(t.Context(), path, check, host.Command{Args: []string{"/bin/sh", "-c", `: > "$0"`, mark}})
		if !errors.Is(err, want) {
			t.Errorf("error: %v, want %v", err, want)
		}
		if _, err := os.Stat(mark); err == nil {
			t.Error("the command was run")
		}
	}
	fine := func(int) error { return nil }
	t.Run("another device", func(t *testing.T) {
		device, another := hosttest.NewLoop(t, hosttest.MiB), errors.New("another device")
		refuse(t, device, func(int) error { return another }, another)
	})
	t.Run("mounted", func(t *testing.T) {
		device := hosttest.Format(t, "ext4", hosttest.NewLoop(t, 16*hosttest.MiB))
		hosttest.Mount(t, device, t.TempDir(), "ext4")
		refuse(t, device, fine, host.ErrBusy)
	})
	t.Run("claimed", func(t *testing.T) {
		device := hosttest.NewLoop(t, hosttest.MiB)
		b, err := host.OpenBlock(device, fine)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		refuse(t, device, fine, host.ErrBusy)
	})
	t.Run("link", func(t *testing.T) {
		device, link := hosttest.NewLoop(t, hosttest.MiB), filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(device, link); err != nil {
			t.Fatal(err)
		}
		refuse(t, link, fine, host.ErrNotBlock)
	})
}

// TestRunOnBlockEndsElsewhere: a device that is another one after the command
// was not cleaned, whatever the command says; and a failed command has failed.
func TestRunOnBlockEndsElsewhere(t *testing.T) {
	device, another := hosttest.NewLoop(t, hosttest.MiB), errors.New("another device")
	checks := 0
	err := host.RunOnBlock(t.Context(), device, func(int) error {
		if checks++; checks == 2 {
			return another
		}
		return nil
	}, writer(device))
	if !errors.Is(err, another) || strings.Contains(err.Error(), "nothing was written") {
		t.Errorf("error: %v", err)
	}
	if err := host.RunOnBlock(t.Context(), device, func(int) error { return nil }, host.Command{Args: []string{"/bin/false"}}); err == nil {
		t.Error("a failed command is none")
	}
}
