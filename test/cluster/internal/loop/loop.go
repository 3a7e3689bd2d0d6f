// Package loop attaches files as loop devices, and finds the devices of files
// again. A device is known by its backing file, never by its number, which the
// kernel gives to somebody else as soon as it is free.
//
// It does not format and does not mount.
package loop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Attach gives the file a loop device and returns its path. A file that has
// one keeps it.
func Attach(file string) (string, error) {
	if dev, err := Find(file); err != nil || dev != "" {
		return dev, err
	}
	back, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("attaching %s: %w", file, err)
	}
	defer back.Close()
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("attaching %s: %w", file, err)
	}
	defer ctl.Close()
	// The free number can be taken by somebody else before it is configured.
	for range 64 {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", fmt.Errorf("finding a free loop device: %w", err)
		}
		path := fmt.Sprintf("/dev/loop%d", n)
		err = configure(path, back, file)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return "", fmt.Errorf("attaching %s to %s: %w", file, path, err)
		}
	}
	return "", fmt.Errorf("attaching %s: every free loop device was taken by others", file)
}

func configure(path string, back *os.File, name string) error {
	dev, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer dev.Close()
	cfg := unix.LoopConfig{Fd: uint32(back.Fd())}
	copy(cfg.Info.File_name[:len(cfg.Info.File_name)-1], name)
	return unix.IoctlLoopConfigure(int(dev.Fd()), &cfg)
}

// Find is the loop device of the file, or "".
func Find(file string) (string, error) {
	all, err := Under(filepath.Dir(file))
	if err != nil {
		return "", err
	}
	for dev, back := range all {
		if back == file {
			return dev, nil
		}
	}
	return "", nil
}

// Under lists the loop devices whose files are, or were, in dir or below it,
// with the files.
func Under(dir string) (map[string]string, error) {
	links, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, fmt.Errorf("listing loop devices: %w", err)
	}
	found := map[string]string{}
	for _, l := range links {
		data, err := os.ReadFile(l)
		if err != nil {
			continue // detached since
		}
		file := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), " (deleted)")
		if strings.HasPrefix(file, dir+"/") {
			found["/dev/"+filepath.Base(filepath.Dir(filepath.Dir(l)))] = file
		}
	}
	return found, nil
}

// Detach takes the device off its file. With the device still open or mounted
// somewhere, the kernel does it at the last close; Detach waits that long.
func Detach(dev, file string, patience time.Duration) error {
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("detaching %s: %w", dev, err)
	}
	// Between the listing and here the number may have changed hands.
	if now, err := Find(file); err != nil || now != dev {
		f.Close()
		return err
	}
	err = unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0)
	f.Close()
	if err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("detaching %s: %w", dev, err)
	}
	deadline := time.Now().Add(patience)
	for {
		now, err := Find(file)
		if err != nil || now != dev {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("detaching %s from %s: still in use after %s", dev, file, patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
