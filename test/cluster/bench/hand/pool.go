package hand

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func (w *worker) poolFile() string { return w.Work + "/pool.img" }

// pool makes a btrfs in a file and mounts it. The loop device goes with the
// mount, and does not cache what the file's own filesystem would cache again.
// The file is sparse unless it is to be written to before.
func (w *worker) pool(bytes int64, written bool) error {
	if w.pooled {
		return errors.New("making the pool: there is one")
	}
	w.pooled = true
	file, err := os.Create(w.poolFile())
	if err == nil {
		err = errors.Join(file.Truncate(bytes), file.Close(), os.MkdirAll(w.PoolDir(), 0o755))
	}
	if err != nil {
		return fmt.Errorf("making the pool: %w", err)
	}
	commands := [][]string{
		{"mkfs.btrfs", "-q", "-f", w.poolFile()},
		{"sh", "-c", `d=$(losetup --find --show --direct-io=on "$0") && mount "$d" "$1"; failed=$?; losetup -d "$d"; exit $failed`, w.poolFile(), w.PoolDir()},
	}
	if written {
		fill := []string{"dd", "if=/dev/zero", "of=" + w.poolFile(), "bs=1M", "count=" + strconv.FormatInt(bytes>>20, 10), "conv=notrunc,fsync", "oflag=direct", "status=none"}
		commands = append([][]string{fill}, commands...)
	}
	for _, args := range commands {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("making the pool: running %q: %w: %s", args, err, out)
		}
	}
	return nil
}

func (w *worker) unpool() error {
	if !w.pooled {
		return nil
	}
	w.pooled = false
	err := unix.Unmount(w.PoolDir(), unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) { // it was never mounted
		err = nil
	}
	if err = errors.Join(err, os.Remove(w.poolFile())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("taking the pool away: %w", err)
	}
	return nil
}

// btrfs' calls, from include/uapi/linux/btrfs.h, in the order that a pool makes
// them for a volume.
const (
	subvolCreate  = 0x5000940e // BTRFS_IOC_SUBVOL_CREATE
	inoLookup     = 0xd0009412 // BTRFS_IOC_INO_LOOKUP
	qgroupCreate  = 0x4010942a // BTRFS_IOC_QGROUP_CREATE
	qgroupAssign  = 0x40189429 // BTRFS_IOC_QGROUP_ASSIGN
	qgroupLimit   = 0x8030942b // BTRFS_IOC_QGROUP_LIMIT
	snapDestroy   = 0x5000940f // BTRFS_IOC_SNAP_DESTROY
	firstInode    = 256
	limitBytes    = 1 // BTRFS_QGROUP_LIMIT_MAX_RFER
	carvedBytes   = 16 << 20
	kernelVolumes = "kernel-alone"
)

// carve makes n subvolumes, each with a quota group and a limit, one after the
// other with nothing but the kernel's calls, and waits once until all of it is
// on disk. It returns how long that took, and removes them again.
func carve(pool string, n int) (took time.Duration, err error) {
	dir := filepath.Join(pool, kernelVolumes)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, fmt.Errorf("carving: %w", err)
	}
	at, err := os.Open(dir)
	if err != nil {
		return 0, fmt.Errorf("carving: %w", err)
	}
	defer at.Close()
	fd := int(at.Fd())
	var ids []uint64
	begun := time.Now()
	for i := range n {
		id, err := carveOne(fd, dir, fmt.Sprintf("v-%d", i))
		if err != nil {
			return 0, fmt.Errorf("carving: %w", err)
		}
		ids = append(ids, id)
	}
	if err := unix.Syncfs(fd); err != nil {
		return 0, fmt.Errorf("carving: %w", err)
	}
	took = time.Since(begun)
	for i, id := range ids {
		if err := uncarveOne(fd, id, fmt.Sprintf("v-%d", i)); err != nil {
			return 0, fmt.Errorf("removing what was carved: %w", err)
		}
	}
	return took, os.Remove(dir)
}

type named struct {
	fd   int64
	name [4088]byte
}

func carveOne(fd int, dir, name string) (id uint64, err error) {
	var args named
	copy(args.name[:], name)
	if err := ioctl(fd, subvolCreate, unsafe.Pointer(&args)); err != nil {
		return 0, fmt.Errorf("making subvolume %s: %w", name, err)
	}
	sub, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return 0, err
	}
	defer sub.Close()
	var lookup struct {
		tree, object uint64
		name         [4080]byte
	}
	lookup.object = firstInode
	if err := ioctl(int(sub.Fd()), inoLookup, unsafe.Pointer(&lookup)); err != nil {
		return 0, fmt.Errorf("finding the number of subvolume %s: %w", name, err)
	}
	group := group(lookup.tree)
	create := struct{ create, group uint64 }{1, group}
	assign := struct{ assign, from, to uint64 }{1, lookup.tree, group}
	limit := struct{ group, flags, referenced, exclusive, reservedRef, reservedExcl uint64 }{group: group, flags: limitBytes, referenced: carvedBytes}
	return lookup.tree, errors.Join(
		ioctl(fd, qgroupCreate, unsafe.Pointer(&create)),
		ioctl(fd, qgroupAssign, unsafe.Pointer(&assign)),
		ioctl(fd, qgroupLimit, unsafe.Pointer(&limit)),
	)
}

func uncarveOne(fd int, id uint64, name string) error {
	assign := struct{ assign, from, to uint64 }{0, id, group(id)}
	remove := struct{ create, group uint64 }{0, group(id)}
	var args named
	copy(args.name[:], name)
	return errors.Join(
		ioctl(fd, qgroupAssign, unsafe.Pointer(&assign)),
		ioctl(fd, qgroupCreate, unsafe.Pointer(&remove)),
		ioctl(fd, snapDestroy, unsafe.Pointer(&args)),
	)
}

// group is a quota group of level 1, with the subvolume's number.
func group(id uint64) uint64 { return 1<<48 | id }

func ioctl(fd int, call uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(call), uintptr(arg)); errno != 0 {
		return fmt.Errorf("calling btrfs (%#x): %w", call, errno)
	}
	return nil
}

// run runs a command in the node.
func run(args []string, a *Answer) error {
	begun := time.Now()
	out, err := exec.Command(args[0], args[1:]...).Output()
	a.Moments, a.Output = []time.Time{begun, time.Now()}, string(out)
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return fmt.Errorf("running %q: %w", args, err)
	}
	return nil
}
