package hand

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// poolHome is where the pool's file is, by itself.
func (w *worker) poolHome() string { return w.Work + "/pool-file" }

// pool makes a btrfs in a file and mounts it. The loop device goes with the
// mount, and does not cache what the file's own filesystem would cache again.
// The file is sparse. In memory it is in a tmpfs of its own, and keeps all of its
// pages from the beginning: else whoever writes pays for finding them.
func (w *worker) pool(bytes int64, inMemory bool) error {
	if w.pooled {
		return errors.New("making the pool: there is one")
	}
	w.pooled = true
	file := filepath.Join(w.poolHome(), "pool.img")
	err := errors.Join(os.MkdirAll(w.poolHome(), 0o700), os.MkdirAll(w.PoolDir(), 0o755))
	if err == nil && inMemory {
		err = unix.Mount("bench", w.poolHome(), "tmpfs", 0, "mode=700,size="+strconv.FormatInt(bytes+bytes/64, 10))
	}
	if err == nil {
		err = os.WriteFile(file, nil, 0o600)
	}
	if err == nil {
		err = os.Truncate(file, bytes)
	}
	if err != nil {
		return fmt.Errorf("making the pool: %w", err)
	}
	const mount = `d=$(losetup --find --show --direct-io=on "$0") && mount -o "$2" "$d" "$1"; failed=$?; losetup -d "$d"; exit $failed`
	commands := [][]string{{"mkfs.btrfs", "-q", "-f", file}, {"sh", "-c", mount, file, w.PoolDir(), "defaults"}}
	if inMemory {
		commands = [][]string{
			{"dd", "if=/dev/zero", "of=" + file, "bs=1M", "count=" + strconv.FormatInt(bytes>>20, 10), "conv=notrunc", "status=none"},
			{"mkfs.btrfs", "-q", "-f", "--nodiscard", file},
			{"sh", "-c", mount, file, w.PoolDir(), "nodiscard"},
		}
	}
	for _, args := range commands {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("making the pool: running %q: %w: %s", args, err, out)
		}
	}
	return nil
}

// unpool takes the pool away. What is still mounted of it, for pods that the
// kubelet is about to end, keeps the kernel's part until it goes.
func (w *worker) unpool() error {
	if !w.pooled {
		return nil
	}
	w.pooled = false
	var errs []error
	errs = append(errs, detach(w.PoolDir()))
	if err := os.Remove(filepath.Join(w.poolHome(), "pool.img")); !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	errs = append(errs, detach(w.poolHome()))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("taking the pool away: %w", err)
	}
	return nil
}

// detach unmounts what is at a place; nothing is no error.
func detach(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
