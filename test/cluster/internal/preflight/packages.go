package preflight

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// wanted is a Debian package with a file by which it is known to be there,
// however it was installed.
type wanted struct{ name, file string }

// packages are what a cluster uses.
var packages = []wanted{
	{"runc", "/usr/sbin/runc"},
	{"containernetworking-plugins", "/usr/lib/cni/ptp"},
	{"iptables", "/usr/sbin/iptables"},
	{"nftables", "/usr/sbin/nft"},
	{"mmdebstrap", "/usr/bin/mmdebstrap"},
	{"busybox-static", "/bin/busybox"},
	{"e2fsprogs", "/sbin/mkfs.ext4"},
	{"xfsprogs", "/sbin/mkfs.xfs"},
	{"btrfs-progs", "/sbin/mkfs.btrfs"},
	{"util-linux", "/usr/bin/nsenter"},
	{"ca-certificates", "/etc/ssl/certs/ca-certificates.crt"},
}

// vmPackages are what test/vm uses beside them.
var vmPackages = []wanted{{"qemu-system-x86", "/usr/bin/qemu-system-x86_64"}}

// MissingPackages lists the Debian packages that must be installed; those that
// test/vm needs among them if vm is set.
func MissingPackages(ctx context.Context, vm bool) ([]string, error) {
	var missing []string
	all := packages
	if vm {
		all = slices.Concat(packages, vmPackages)
	}
	for _, p := range all {
		if _, err := os.Stat(p.file); err != nil {
			missing = append(missing, p.name)
		}
	}
	// A busybox that is not static would not run in an image of its own.
	if _, err := os.Stat("/bin/busybox"); err == nil {
		out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Status}", "busybox-static").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "ok installed") {
			missing = append(missing, "busybox-static")
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return nil, fmt.Errorf("installing packages: there is no apt-get; install what gives these files by hand: %s", files(missing))
	}
	return missing, nil
}

func files(names []string) string {
	var all []string
	for _, p := range slices.Concat(packages, vmPackages) {
		for _, n := range names {
			if p.name == n {
				all = append(all, fmt.Sprintf("%s (%s)", p.file, p.name))
			}
		}
	}
	return strings.Join(all, ", ")
}

// Install installs Debian packages without asking.
func Install(ctx context.Context, names []string) error {
	steps := [][]string{
		{"update", "-q"},
		append([]string{"install", "-q", "-y", "--no-install-recommends"}, names...),
	}
	for _, args := range steps {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.WaitDelay = 10 * time.Second
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("running apt-get %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}
