package vm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// packages are the machine's own Debian packages: a kernel with its modules,
// and what the tests make disks with.
var packages = []string{
	"linux-image-cloud-amd64", "kmod", "udev", "lvm2", "dmsetup", "thin-provisioning-tools", "mdadm", "gdisk",
	"e2fsprogs", "xfsprogs", "btrfs-progs", "nvme-cli",
}

// rootBytes is the size of the root filesystem; the packages take a third.
const rootBytes = "1500M"

// system is what all machines start from. Nobody writes to it.
type system struct {
	kernel string // path of the kernel's image
	root   string // path of the root filesystem's image
}

// prepare makes the system, as root, unless it is cached.
func prepare(ctx context.Context) (system, error) {
	cache, err := cacheDir()
	if err != nil {
		return system{}, err
	}
	s := system{kernel: filepath.Join(cache, "vmlinuz"), root: filepath.Join(cache, "root.img")}
	if _, err := os.Stat(cache); !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if os.Geteuid() != 0 {
		return system{}, errors.New("making the machine's root filesystem: it takes root; the next time it is cached")
	}
	fmt.Fprintln(os.Stderr, "making the machine's root filesystem, which takes a minute and is cached")
	if err := makeSystem(ctx, cache); err != nil {
		return system{}, fmt.Errorf("making the machine's root filesystem: %w", err)
	}
	return s, nil
}

// cacheDir has in its name what the system is made of. The packages are those
// of the day it is made; remove it to get newer ones.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache directory: %w", err)
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", fmt.Errorf("reading this machine's release: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q %s", release, packages, rootBytes))
	return filepath.Join(base, "berth", fmt.Sprintf("vm-%x", sum[:8])), nil
}

func makeSystem(ctx context.Context, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	if _, err := os.Stat(dir); err == nil {
		return nil // another test was faster
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".build-vm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	cluster, err := output(ctx, "go", "list", "-f", "{{.Module.Dir}}/test/cluster", "github.com/berth-storage/berth/test/vm")
	if err != nil {
		return err
	}
	// mmdebstrap is the cluster's to run; its module is not this one.
	archive, err := output(ctx, "go", append([]string{"run", "-C", cluster, "./cmd/cluster", "debian"}, packages...)...)
	if err != nil {
		return err
	}
	defer os.Remove(archive) // nobody else asks for these packages
	root, done := filepath.Join(tmp, "root"), filepath.Join(tmp, "done")
	if err := errors.Join(os.Mkdir(root, 0o755), os.Mkdir(done, 0o755)); err != nil {
		return err
	}
	if _, err := output(ctx, "tar", "-xf", archive, "-C", root); err != nil {
		return err
	}
	kernels, err := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		return fmt.Errorf("found kernels %q in the root directory, not one", kernels)
	}
	if err := os.Rename(kernels[0], filepath.Join(done, "vmlinuz")); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(root, "boot")); err != nil {
		return err
	}
	if _, err := output(ctx, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", root, filepath.Join(done, "root.img"), rootBytes); err != nil {
		return err
	}
	return os.Rename(done, dir)
}

// output runs a program and returns what it printed, without the last newline.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("running %s: %w\n%s", name, err, &stderr)
	}
	return strings.TrimSpace(string(out)), nil
}
