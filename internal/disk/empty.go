package disk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Empty reports whether an open directory has no contents. An empty lost+found,
// which mkfs makes, does not count.
func Empty(dir *os.File) (bool, error) {
	names, err := readNames(dir)
	if err != nil || len(names) == 0 {
		return err == nil, err
	}
	if len(names) > 1 || names[0] != "lost+found" {
		return false, nil
	}
	fd, err := unix.Openat(int(dir.Fd()), "lost+found", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, nil // it is no directory, so a tenant made it
	}
	lost := os.NewFile(uintptr(fd), "lost+found")
	defer lost.Close()
	names, err = readNames(lost)
	return err == nil && len(names) == 0, err
}

// readNames reads two names at most, which is all that Empty needs.
func readNames(dir *os.File) ([]string, error) {
	names, err := dir.Readdirnames(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading directory: %w", err)
	}
	return names, nil
}
