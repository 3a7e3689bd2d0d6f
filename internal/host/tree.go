package host

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// What stands in the way of changing a volume. Errors of this package wrap
// them, and name the path.
var (
	// ErrNestedMount: another mount is inside the volume's directory.
	ErrNestedMount = errors.New("another mount is inside the volume")
	// ErrReadOnly: the filesystem or device takes no writes.
	ErrReadOnly = errors.New("is read-only")
	// ErrBusy: something else on this machine holds the device or the entry.
	ErrBusy = errors.New("is in use")
)

// Within a tree, names are resolved one at a time, and neither a link nor a
// mount is ever followed. See openat2(2).
const resolveWithin = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// A Tree is a volume's directory, held open: it stays the one that was opened
// whatever happens to its path. All its methods reach only what is beneath it,
// on the same mount. It is opened, used by any number of goroutines, closed.
type Tree struct {
	root    *Dir
	path    string
	mount   uint64 // the mount's ID, 0 where the kernel does not tell
	fsMagic int64
}

// A Dir is an open directory of a tree. Next and Rewind of one Dir belong to
// one goroutine; the rest may be used by many.
type Dir struct {
	fd   int
	path string // from the tree's root, "" for the root itself
	dev  uint64 // differs between the subvolumes of one btrfs
	ino  uint64
}

// Path is where the directory was when it was opened, relative to the tree's
// root, which is ".".
func (d *Dir) Path() string {
	if d.path == "" {
		return "."
	}
	return d.path
}

// OpenTree opens the directory at path, which must not be a link. Before it
// returns, it calls check with the open descriptor, to prove that this is the
// volume that the caller means; when check fails, so does OpenTree.
func OpenTree(path string, check func(fd int) error) (*Tree, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening directory %q: %w", path, err)
	}
	t := &Tree{path: path}
	if err := t.setRoot(fd); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("opening directory %q: %w", path, err)
	}
	if err := check(fd); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("checking directory %q, nothing was written: %w", path, err)
	}
	return t, nil
}

func (t *Tree) setRoot(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return err
	}
	mount, err := mountID(fd)
	if err != nil {
		return err
	}
	t.root = &Dir{fd: fd, dev: st.Dev, ino: st.Ino}
	t.mount, t.fsMagic = mount, int64(fs.Type)
	return nil
}

// mountID returns the ID that mountinfo has for the mount of fd.
func mountID(fd int) (uint64, error) {
	var stx unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &stx); err != nil {
		return 0, err
	}
	if stx.Mask&unix.STATX_MNT_ID == 0 {
		return 0, nil
	}
	return stx.Mnt_id, nil
}

// Root is the directory that the tree was opened at.
func (t *Tree) Root() *Dir { return t.root }

// Path is the path that the tree was opened by.
func (t *Tree) Path() string { return t.path }

// Shut closes the tree.
func (t *Tree) Shut() error { return unix.Close(t.root.fd) }

// ReadOnly says whether the tree's mount or filesystem takes no writes.
func (t *Tree) ReadOnly() (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(t.root.fd, &fs); err != nil {
		return false, fmt.Errorf("reading the state of %q: %w", t.path, err)
	}
	return fs.Flags&unix.ST_RDONLY != 0, nil
}

// ExtRoot says whether the tree is the root of an ext2, ext3 or ext4, which is
// where such a filesystem has its own lost+found.
func (t *Tree) ExtRoot() bool {
	const extRootInode = 2 // EXT4_ROOT_INO, fs/ext4/ext4.h
	return t.fsMagic == unix.EXT4_SUPER_MAGIC && t.root.ino == extRootInode
}

// NestedMounts lists the mount points beneath the tree that this mount
// namespace has.
func (t *Tree) NestedMounts() ([]string, error) {
	// The descriptor's path as this namespace sees it, not the one that the
	// caller used, which may have gone through links.
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(t.root.fd), buf)
	if err != nil {
		return nil, fmt.Errorf("resolving %q: %w", t.path, err)
	}
	beneath := strings.TrimSuffix(string(buf[:n]), "/") + "/"
	infos, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return t.mount != 0 && uint64(m.Parent) != t.mount || !strings.HasPrefix(m.Mountpoint, beneath), false
	})
	if err != nil {
		return nil, fmt.Errorf("reading mountinfo: %w", err)
	}
	var points []string
	for _, m := range infos {
		points = append(points, m.Mountpoint)
	}
	return points, nil
}

// Open opens the directory of that name in d. A link or a file is ENOTDIR, a
// mount point ErrNestedMount.
func (t *Tree) Open(d *Dir, name string) (*Dir, error) {
	path := join(d, name)
	fd, err := openWithin(d, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", path, err)
	}
	child, err := t.adopt(fd, path)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("opening %q: %w", path, err)
	}
	return child, nil
}

// adopt makes a Dir of fd if it is on the tree's own mount. RESOLVE_NO_XDEV
// has seen to that already; asking again costs one call.
func (t *Tree) adopt(fd int, path string) (*Dir, error) {
	mount, err := mountID(fd)
	if err != nil {
		return nil, err
	}
	if mount != t.mount {
		return nil, ErrNestedMount
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	return &Dir{fd: fd, path: path, dev: st.Dev, ino: st.Ino}, nil
}

// Close closes a directory that Open returned.
func (t *Tree) Close(d *Dir) { unix.Close(d.fd) }

// Subvolume says whether child is another btrfs subvolume than d.
func (t *Tree) Subvolume(d, child *Dir) bool { return d.dev != child.dev }

// openWithin opens one name in d, beneath the tree and on its mount.
func openWithin(d *Dir, name string, flags uint64) (int, error) {
	if name == "" || name == "." || name == ".." || strings.ContainsRune(name, '/') {
		return -1, unix.EINVAL
	}
	how := unix.OpenHow{Flags: flags | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: resolveWithin}
	fd, err := again(func() (int, error) { return unix.Openat2(d.fd, name, &how) })
	if err == unix.EXDEV {
		err = ErrNestedMount
	}
	return fd, err
}

// again repeats a call that a signal interrupted, or that the kernel could not
// answer because of a rename at the same moment (openat2's EAGAIN).
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR && err != unix.EAGAIN {
			return n, err
		}
	}
}

func join(d *Dir, name string) string {
	if d.path == "" {
		return name
	}
	return d.path + "/" + name
}
