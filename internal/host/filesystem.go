package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
)

var (
	// ErrFilesystem: a kind of filesystem that is not made here.
	ErrFilesystem = errors.New("is not a filesystem that can be had")
	// ErrHolds: there is something on the device.
	ErrHolds = errors.New("the device is not empty")
)

// DefaultFilesystem is what a device gets for which none is asked.
const DefaultFilesystem = "ext4"

// filesystems are those that can be made: the command, and the fewest bytes
// that it takes, or that are of use. A device is not discarded first, as one
// that was carved holds nothing.
var filesystems = map[string]struct {
	least int64
	mkfs  []string
}{
	// Blocks of 4 KiB and as many inodes as usual also on a small device, which
	// may grow; no blocks kept for root; a journal, which needs 8 MiB.
	"ext4": {16 << 20, []string{"mkfs.ext4", "-q", "-F", "-T", "default", "-b", "4096", "-m", "0", "-E", "nodiscard"}},
	// The least that mkfs.xfs takes since xfsprogs 5.19.
	"xfs": {300 << 20, []string{"mkfs.xfs", "-q", "-f", "-K"}},
	// The least that the kernel resizes one to, btrfs_ioctl_resize in Linux
	// fs/btrfs/ioctl.c; mkfs.btrfs takes 109 MiB.
	"btrfs": {256 << 20, []string{"mkfs.btrfs", "-q", "-f", "-K"}},
}

// Filesystems are the kinds that MakeFilesystem makes, sorted.
func Filesystems() []string { return slices.Sorted(maps.Keys(filesystems)) }

// MinFilesystem is the fewest bytes that a device for that filesystem should
// have, or ErrFilesystem.
func MinFilesystem(fsType string) (bytes int64, err error) {
	f, ok := filesystems[fsType]
	if !ok {
		return 0, fmt.Errorf("%q %w; allowed: %s", fsType, ErrFilesystem, strings.Join(Filesystems(), ", "))
	}
	return f.least, nil
}

// MakeFilesystem makes a filesystem on a block device, whose path may be a link.
// A device that holds something is ErrHolds, unless overwrite says that it is
// the caller's to lose; one that is mounted or claimed is ErrBusy. Once it has
// returned, the filesystem survives a loss of power. One that a crash stopped
// leaves the device with any part of it.
func MakeFilesystem(ctx context.Context, device, fsType string, overwrite bool) error {
	if err := makeFilesystem(ctx, device, fsType, overwrite); err != nil {
		return fmt.Errorf("making a filesystem on %q: %w", device, err)
	}
	return nil
}

func makeFilesystem(ctx context.Context, device, fsType string, overwrite bool) error {
	if _, err := MinFilesystem(fsType); err != nil {
		return err
	}
	path, err := filepath.EvalSymlinks(device)
	if err != nil {
		return err
	}
	if !overwrite {
		if err := holdsNothing(ctx, path); err != nil {
			return err
		}
	}
	args := slices.Clone(filesystems[fsType].mkfs)
	if args[0], err = exec.LookPath(args[0]); err != nil {
		return err
	}
	return RunOnBlock(ctx, path, func(int) error { return nil }, Command{Args: append(args, path)})
}

// holdsNothing is ErrHolds unless blkid(8) finds no signature of anything on a
// device.
func holdsNothing(ctx context.Context, path string) error {
	blkid, err := exec.LookPath("blkid")
	if err != nil {
		return err
	}
	var found []string
	c := Command{Args: []string{blkid, "-p", "-o", "value", "-s", "TYPE", "-s", "PTTYPE", path}, Output: func(line string) { found = append(found, line) }}
	err = c.Run(ctx)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == 2 && len(found) == 0: // blkid(8): nothing was found
		return nil
	case errors.As(err, &exit) && exit.ExitCode() == 8: // more than one signature
		return fmt.Errorf("%w: it has signatures of several things", ErrHolds)
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: it has a signature of %s", ErrHolds, strings.Join(found, ", "))
}

// FilesystemOn is the kind of the filesystem that a block device holds, which
// may be mounted: "" for none that is known here.
func FilesystemOn(device string) (fsType string, err error) {
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("reading what %q holds: %w", device, err)
	}
	defer unix.Close(fd)
	s, err := disk.ReadSignature(descriptor(fd))
	if errors.Is(err, disk.ErrNoSignature) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading what %q holds: %w", device, err)
	}
	return s.Type, nil
}

// descriptor reads an open file, which stays its opener's.
type descriptor int

// ReadAt implements io.ReaderAt.
func (d descriptor) ReadAt(p []byte, off int64) (int, error) {
	n, err := again(func() (int, error) { return unix.Pread(int(d), p, off) })
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return max(n, 0), err
}
