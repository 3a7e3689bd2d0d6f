package preflight

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// packages are the Debian packages that a cluster uses, each with a file by
// which it is known to be there, however it was installed.
var packages = []struct{ name, file string }{
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

// MissingPackages lists the Debian packages that must be installed.
func MissingPackages(ctx context.Context) ([]string, error) {
	var missing []string
	for _, p := range packages {
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
	for _, p := range packages {
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
