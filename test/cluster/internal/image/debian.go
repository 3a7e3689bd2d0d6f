package image

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Debian is a minimal Debian or Ubuntu root directory with packages: the
// release that this machine runs, from the archives it uses.
type Debian struct {
	Cache    string // directory for the archives
	Packages []string
}

// strip are files that no program in the image reads.
var strip = []string{"/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*"}

// clean removes what the installation left behind.
const clean = `rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/cache/debconf/* "$1"/var/log/*`

// epoch is the age of every file, so that the same packages give the same
// archive. Any moment in the past does.
const epoch = "1700000000"

// Path is where the archive is, or will be: the list of packages and the
// release are in its name, so another list is another archive.
func (d Debian) Path() (string, error) {
	release, err := release()
	if err != nil {
		return "", err
	}
	sorted := slices.Sorted(slices.Values(d.Packages))
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %q %q %s %s", release, architecture, slices.Compact(sorted), strip, clean, epoch))
	return filepath.Join(d.Cache, fmt.Sprintf("root-%x.tar", sum[:8])), nil
}

// Cached says whether the archive is there.
func (d Debian) Cached() (bool, error) {
	path, err := d.Path()
	if err != nil {
		return false, err
	}
	_, err = os.Stat(path)
	return err == nil, nil
}

// Make makes the archive unless it is cached. Packages are those of the day it
// is made; remove the archive to get newer ones.
func (d Debian) Make(ctx context.Context) error {
	if ok, err := d.Cached(); err != nil || ok {
		return err
	}
	path, err := d.Path()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.Cache, 0o755); err != nil {
		return fmt.Errorf("making the cache: %w", err)
	}
	tmp, err := os.MkdirTemp(d.Cache, ".build-root-")
	if err != nil {
		return fmt.Errorf("making the cache: %w", err)
	}
	defer os.RemoveAll(tmp)
	release, err := release()
	if err != nil {
		return err
	}
	archive := filepath.Join(tmp, "root.tar")
	args := []string{"--mode=root", "--variant=minbase", "--include=" + strings.Join(d.Packages, ",")}
	for _, s := range strip {
		args = append(args, "--dpkgopt=path-exclude="+s)
	}
	args = append(args, "--customize-hook="+clean, release, archive)
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, sources()...)...)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+epoch, "TMPDIR="+tmp)
	// What it mounts for its hooks must not stay on the machine when it is
	// interrupted; in namespaces of its own nothing can.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making a Debian root directory: %w\n%s", err, lastLines(out, 15))
	}
	if err := os.Rename(archive, path); err != nil {
		return fmt.Errorf("caching the Debian root directory: %w", err)
	}
	return nil
}

// release is the code name of the machine's release.
func release() (string, error) {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return "", fmt.Errorf("reading this machine's release: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "VERSION_CODENAME="); ok {
			return strings.Trim(name, `"`), nil
		}
	}
	return "", errors.New("reading this machine's release: /etc/os-release names no VERSION_CODENAME; Debian and Ubuntu do")
}

// sources are the files that name the distribution's own archives, so that a
// machine with a mirror uses it. Other vendors' archives are not asked. With
// none, mmdebstrap uses the distribution's public one.
func sources() []string {
	var found []string
	for _, path := range []string{
		"/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list.d/ubuntu.sources",
	} {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); err == nil && line != "" && line[0] != '#' {
				found = append(found, path)
				break
			}
		}
	}
	return found
}

func lastLines(out []byte, n int) string {
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
