//go:build vm

package vm_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/wipe"
)

// mount makes the volume a directory: the root of a filesystem.
func (l *living) mount(kind string, fresh bool) error {
	if fresh {
		if out, err := exec.Command("mkfs."+kind, "-q", l.path).CombinedOutput(); err != nil {
			return fmt.Errorf("making %s's filesystem: %w\n%s", l.name, err, out)
		}
	}
	l.dir = "/run/" + l.name
	if err := os.Mkdir(l.dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(l.path, l.dir, kind, 0, ""); err != nil {
		return fmt.Errorf("mounting %s: %w", l.name, err)
	}
	return l.prove(func(id disk.ID) error { l.identity = id; return nil })
}

// prove gives the identity of what is mounted.
func (l *living) prove(use func(disk.ID) error) error {
	mounts, err := disk.ReadMounts(os.DirFS("/"))
	if err != nil {
		return err
	}
	m, _ := mounts.At(l.dir)
	f, err := disk.OpenMounted(l.dir, m)
	if err != nil {
		return err
	}
	defer f.Close()
	id, err := disk.FilesystemIDOfFD(int(f.Fd()), m)
	if err != nil {
		return err
	}
	return use(id)
}

// files counts what a tenant has left in a directory.
func files(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir && path != filepath.Join(dir, "lost+found") {
			n++
		}
		return err
	})
	return n, err
}

// useDir is what a tenant does with a directory.
func (l *living) useDir() error {
	for i := range 1 + l.rand.IntN(60) {
		dir := filepath.Join(l.dir, fmt.Sprintf("cycle-%s-%d", l.record.PV.Version, i%7), fmt.Sprint(i%5))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), make([]byte, l.rand.IntN(20_000)), 0o600); err != nil {
			return err
		}
	}
	if l.rand.IntN(3) > 0 {
		unix.Sync()
	}
	return nil
}

func (l *living) wipeDir() error {
	t, err := host.OpenTree(l.dir, func(int) error { return l.prove(l.identity.Expect) })
	if err != nil {
		return err
	}
	defer t.Shut()
	_, err = wipe.Contents(context.Background(), t, wipe.ContentsOptions{})
	return err
}
