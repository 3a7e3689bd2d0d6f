package vm

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/test/vm/internal/wire"
)

// buildGuest builds the machine's first process.
func buildGuest(ctx context.Context) ([]byte, error) {
	dir, err := os.MkdirTemp("", "berth-vm-")
	if err != nil {
		return nil, fmt.Errorf("building the guest: %w", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "guest")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", file, "github.com/berth-storage/berth/test/vm/guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the guest: %w\n%s", err, out)
	}
	return os.ReadFile(file)
}

// newInitrd makes the initial RAM disk, a file without a name: the guest and,
// below wire.Files, the host's files.
func newInitrd(guest []byte, files map[string]string) (*os.File, error) {
	fd, err := unix.MemfdCreate("initrd", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making the initial RAM disk: %w", err)
	}
	f := os.NewFile(uintptr(fd), "initrd")
	w := bufio.NewWriterSize(f, 1<<20)
	if err := writeInitrd(w, guest, files); err != nil {
		f.Close()
		return nil, fmt.Errorf("making the initial RAM disk: %w", err)
	}
	return f, nil
}

func writeInitrd(w *bufio.Writer, guest []byte, files map[string]string) error {
	c := cpio{w: w, made: map[string]bool{}}
	c.dir("/dev")
	c.put("/dev/console", unix.S_IFCHR|0o600, nil, 5, 1)
	c.dir(wire.Files)
	c.put("/init", unix.S_IFREG|0o755, guest, 0, 0)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := c.tree(path.Join(wire.Files, name), files[name]); err != nil {
			return err
		}
	}
	c.put("TRAILER!!!", 0, nil, 0, 0)
	if c.err != nil {
		return c.err
	}
	return w.Flush()
}

// cpio writes an archive in the format that the kernel unpacks, see
// Documentation/driver-api/early-userspace/buffer-format.rst in Linux.
type cpio struct {
	w     io.Writer
	inode int
	made  map[string]bool // directories
	err   error           // the first
}

// tree adds a file or a directory with all that is in it.
func (c *cpio) tree(name, from string) error {
	return filepath.WalkDir(from, func(file string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		to := path.Join(name, filepath.ToSlash(rel))
		info, err := os.Stat(file) // what a link leads to
		switch {
		case err != nil:
			return err
		case info.IsDir():
			c.dir(to)
			return nil
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		c.dir(path.Dir(to))
		c.put(to, unix.S_IFREG|uint32(info.Mode().Perm()), data, 0, 0)
		return nil
	})
}

// dir adds a directory and those above it, once.
func (c *cpio) dir(name string) {
	if name == "/" || c.made[name] {
		return
	}
	c.dir(path.Dir(name))
	c.made[name] = true
	c.put(name, unix.S_IFDIR|0o755, nil, 0, 0)
}

func (c *cpio) put(name string, mode uint32, data []byte, major, minor int) {
	if c.err != nil {
		return
	}
	name = strings.TrimPrefix(name, "/")
	c.inode++
	head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0, name)
	for _, part := range [][]byte{[]byte(head), data} {
		padded := append(slices.Clip(part), make([]byte, -len(part)&3)...)
		if _, c.err = c.w.Write(padded); c.err != nil {
			return
		}
	}
}
