package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Bytes is what an entry takes of its filesystem, with all that is beneath it: the
// blocks that are allocated, of a file with several names once. What is mounted
// there is not counted, a link's target neither, and what goes away meanwhile
// is not there.
func (f *Folder) Bytes(ctx context.Context, name string) (bytes int64, err error) {
	type inode struct {
		major, minor uint32 // differ between the subvolumes of one btrfs
		ino          uint64
	}
	seen := map[inode]bool{}
	mount := uint64(0)
	if err := f.With(".", func(fd int) error { mount, err = mountID(fd); return err }); err != nil {
		return 0, fmt.Errorf("measuring %q: %w", f.Path(name), err)
	}
	err = filepath.WalkDir(f.Path(name), func(path string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		var stx unix.Statx_t
		switch err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &stx); {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return &fs.PathError{Op: "statx", Path: path, Err: err}
		case stx.Mnt_id != mount && entry.IsDir():
			return fs.SkipDir
		case stx.Mnt_id != mount:
			return nil
		}
		if i := (inode{stx.Dev_major, stx.Dev_minor, stx.Ino}); stx.Nlink > 1 && !entry.IsDir() {
			if seen[i] {
				return nil
			}
			seen[i] = true
		}
		const unit = 512 // of stx_blocks, whatever the filesystem's blocks are (statx(2))
		bytes += int64(stx.Blocks) * unit
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measuring %q: %w", f.Path(name), err)
	}
	return bytes, nil
}
