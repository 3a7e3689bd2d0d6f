package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// makeRoot gives the caller's mount namespace a root directory of the node's
// own. The machine's programs and settings are bound in read-only; /var and
// /mnt are the node's and survive a power cut, /run and /tmp do not; the rest
// of the machine is out of sight, so nothing of it is kept busy either.
func makeRoot(s Spec) error {
	// Nothing done in here may reach the machine.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("separating mounts: %w", err)
	}
	root := filepath.Join(s.Dir, "root")
	steps := []func() error{
		func() error { return mount("tmpfs", root, "tmpfs", 0, "mode=755") },
		func() error { return bindSystem(root) },
		func() error { return makeOwn(s, root) },
		func() error { return mountKernel(s, root) },
		func() error { return enter(root) },
		func() error { return identify(s) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("making the root directory: %w", err)
		}
	}
	return nil
}

// bindSystem shows the machine's programs and settings, read-only.
func bindSystem(root string) error {
	for _, name := range []string{"bin", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "usr"} {
		from, to := "/"+name, filepath.Join(root, name)
		info, err := os.Lstat(from)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(from)
			if err != nil {
				return err
			}
			if err := os.Symlink(target, to); err != nil {
				return err
			}
			continue
		}
		if err := bind(from, to, true); err != nil {
			return err
		}
	}
	return nil
}

// makeOwn makes the directories that are the node's.
func makeOwn(s Spec, root string) error {
	for _, dir := range []string{
		"var/lib/kubelet", "var/lib/containerd", "var/lib/cni", "var/lib/berth",
		"var/log/pods", "var/log/containers", "mnt/disks", "mnt/blocks", "mnt/pools", "config",
	} {
		if err := os.MkdirAll(filepath.Join(s.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink("/run", filepath.Join(s.Dir, "var/run")); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, dir := range []string{"run", "tmp"} {
		if err := mount("tmpfs", filepath.Join(root, dir), "tmpfs", 0, "mode=1777"); err != nil {
			return err
		}
	}
	for _, dir := range []string{"root", "home", "opt/bin", "old"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	binds := []struct {
		from, to string
		readOnly bool
	}{
		{filepath.Join(s.Dir, "var"), "var", false},
		{filepath.Join(s.Dir, "mnt"), "mnt", false},
		{filepath.Join(s.Dir, "config"), ConfigDir, true},
	}
	for _, b := range binds {
		if err := bind(b.from, filepath.Join(root, b.to), b.readOnly); err != nil {
			return err
		}
	}
	for name, path := range s.Programs {
		to := filepath.Join(root, ProgramDir, name)
		if err := os.WriteFile(to, nil, 0o755); err != nil {
			return err
		}
		if err := bind(path, to, true); err != nil {
			return err
		}
	}
	return nil
}

// mountKernel mounts what the kernel shows. /proc and /sys are of the node's
// own namespaces; a fresh /sys hides the cgroups, so they are bound back.
func mountKernel(s Spec, root string) error {
	if err := mount("proc", filepath.Join(root, "proc"), "proc", 0, ""); err != nil {
		return err
	}
	if err := mount("sysfs", filepath.Join(root, "sys"), "sysfs", 0, ""); err != nil {
		return err
	}
	for _, dir := range []string{"/sys/fs/cgroup", "/dev"} {
		to := filepath.Join(root, dir)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(dir, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("binding %s: %w", dir, err)
		}
	}
	return nil
}

// enter makes root the root, lets go of everything else, and shares later
// mounts with the namespaces of pods, as a machine's init does.
func enter(root string) error {
	if err := unix.PivotRoot(root, filepath.Join(root, "old")); err != nil {
		return fmt.Errorf("pivoting: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount("/old", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("letting go of the machine: %w", err)
	}
	if err := os.Remove("/old"); err != nil {
		return err
	}
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

// identify gives the node identifiers of its own in the files where a kubelet
// reads them; the one of this start tells it that the machine was rebooted.
func identify(s Spec) error {
	files := []struct{ path, name, value string }{
		{"/proc/sys/kernel/random/boot_id", "boot_id", s.BootID},
		{"/etc/machine-id", "machine-id", s.MachineID},
	}
	for _, f := range files {
		if _, err := os.Stat(f.path); err != nil {
			continue
		}
		from := filepath.Join("/run", f.name)
		if err := os.WriteFile(from, []byte(f.value+"\n"), 0o444); err != nil {
			return err
		}
		if err := bind(from, f.path, true); err != nil {
			return err
		}
	}
	return nil
}

func mount(source, target, fsType string, flags uintptr, data string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, target, fsType, flags, data); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", source, target, err)
	}
	return nil
}

// bind shows the file or directory from at to, which is made if it must be a
// directory.
func bind(from, to string, readOnly bool) error {
	if info, err := os.Stat(from); err != nil {
		return err
	} else if info.IsDir() {
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding %s: %w", from, err)
	}
	if !readOnly {
		return nil
	}
	if err := unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("binding %s read-only: %w", from, err)
	}
	return nil
}
