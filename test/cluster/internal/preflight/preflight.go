// Package preflight finds out whether a machine can run a cluster, before
// anything on it is changed: all that is wrong at once, each with what to do.
//
// It reads; the one thing it changes, when told to, is to install packages.
package preflight

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/test/cluster/internal/cgroup"
)

// Facts is what a machine is like.
type Facts struct {
	OS          string
	Root        bool
	Go          string   // `go env GOVERSION`, as go1.26.8; empty without Go
	Kernel      []string // features that are there or can be loaded, see needed
	Namespaces  []string // as in /proc/self/ns
	Controllers []string // missing cgroup controllers
	Loop        bool     // /dev/loop-control
	// Bytes that are free where the cluster, and where the cache will be, and
	// whether that is one filesystem.
	ClusterDir, CacheDir   string
	ClusterFree, CacheFree int64
	SameFilesystem         bool
	Memory                 int64 // bytes available
}

// What a cluster needs. The figures were measured on Debian 12 with two nodes
// and rounded up; the build's are those of an empty Go cache.
const (
	minor        = 26 // Go 1.26
	gib          = int64(1) << 30
	needCluster  = 5 * gib / 2 // two nodes with their images, and what is written to their disks
	needCold     = 10 * gib    // Go's module and build cache, and the parts
	needWarm     = gib / 2     // a new image of Berth
	needMemory   = 3 * gib / 2
	needBuilding = 3 * gib // linking the API server
)

// needed kernel features: filesystems, and modules by another name.
var needed = []string{"ext4", "xfs", "btrfs", "overlay", "nf_tables", "veth", "bridge"}

var neededNamespaces = []string{"ipc", "mnt", "net", "pid", "uts"}

// Problem is one thing that is wrong.
type Problem struct{ Is, Do string }

// Check says all that keeps the machine from running a cluster; cold if the
// parts must be built first.
func Check(f Facts, cold bool) error {
	problems := Problems(f, cold)
	if len(problems) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString("this machine cannot run the cluster yet; nothing was changed:")
	for _, p := range problems {
		fmt.Fprintf(&b, "\n  - %s: %s", p.Is, p.Do)
	}
	return errors.New(b.String())
}

// CheckBuild says what keeps the machine from building the parts alone.
func CheckBuild(f Facts) error {
	f.Kernel, f.Namespaces, f.Controllers, f.Loop, f.Root = needed, neededNamespaces, nil, true, true
	return Check(f, true)
}

// Problems lists what is wrong with the machine.
func Problems(f Facts, cold bool) []Problem {
	if f.OS != "linux" {
		return []Problem{{"this is " + f.OS, "run it on Linux, in a virtual machine if need be"}}
	}
	var all []Problem
	add := func(bad bool, is, do string, args ...any) {
		if bad {
			all = append(all, Problem{is, fmt.Sprintf(do, args...)})
		}
	}
	add(!f.Root, "you are not root", "run it with sudo -E, or as root")
	add(f.Go == "", "there is no Go", "install Go 1.%d or newer and put it into PATH", minor)
	add(f.Go != "" && !recent(f.Go), "Go is "+f.Go, "install Go 1.%d or newer", minor)
	for _, k := range needed {
		add(!slices.Contains(f.Kernel, k), "the kernel has no "+k,
			"install the modules of the kernel that runs (Debian: linux-image, Ubuntu: linux-modules-extra), or boot one that has it")
	}
	add(!f.Loop, "there is no /dev/loop-control", "load the module: modprobe loop; in a container, pass /dev in and run it privileged")
	for _, n := range neededNamespaces {
		add(!slices.Contains(f.Namespaces, n), "the kernel has no "+n+" namespaces", "boot a kernel with CONFIG_NAMESPACES and all below it")
	}
	add(len(f.Controllers) > 0, "cgroup controllers are missing: "+strings.Join(f.Controllers, ", "),
		"mount them, or boot with cgroup_enable=%s", strings.Join(f.Controllers, ","))
	all = append(all, space(f, cold)...)
	need := needMemory
	if cold {
		need = needBuilding
	}
	add(f.Memory < need, "only "+size(f.Memory)+" of memory are available", "free some: %s are needed", size(need))
	return all
}

// space compares free space with what is needed, together when it is one
// filesystem that must hold both.
func space(f Facts, cold bool) []Problem {
	cache := needWarm
	if cold {
		cache = needCold
	}
	is := func(dir string, free int64) string {
		return fmt.Sprintf("only %s are free for %s", size(free), dir)
	}
	if f.SameFilesystem {
		if f.CacheFree >= cache+needCluster {
			return nil
		}
		return []Problem{{is(f.ClusterDir+" and "+f.CacheDir, f.CacheFree), "free some: " + size(cache+needCluster) + " are needed"}}
	}
	var all []Problem
	if f.ClusterFree < needCluster {
		all = append(all, Problem{is(f.ClusterDir, f.ClusterFree),
			"free some, or choose another place with --dir: " + size(needCluster) + " are needed"})
	}
	if f.CacheFree < cache {
		all = append(all, Problem{is(f.CacheDir, f.CacheFree),
			"free some, or choose another place with XDG_CACHE_HOME, GOCACHE and GOMODCACHE: " + size(cache) + " are needed"})
	}
	return all
}

func size(bytes int64) string {
	return strconv.FormatFloat(float64(bytes)/float64(gib), 'f', 1, 64) + " GiB"
}

var goVersion = regexp.MustCompile(`^go1\.(\d+)`)

func recent(version string) bool {
	m := goVersion.FindStringSubmatch(version)
	if m == nil {
		return strings.HasPrefix(version, "devel")
	}
	n, _ := strconv.Atoi(m[1])
	return n >= minor
}

// Machine reads what this machine is like. What cannot be read counts as
// missing, and so is reported.
func Machine(clusterDir, cacheDir string) Facts {
	f := Facts{OS: runtime.GOOS, Root: os.Geteuid() == 0, ClusterDir: clusterDir, CacheDir: cacheDir}
	if out, err := exec.Command("go", "env", "GOVERSION").Output(); err == nil {
		f.Go = strings.TrimSpace(string(out))
	}
	for _, k := range needed {
		if hasKernel(k) {
			f.Kernel = append(f.Kernel, k)
		}
	}
	if entries, err := os.ReadDir("/proc/self/ns"); err == nil {
		for _, e := range entries {
			f.Namespaces = append(f.Namespaces, e.Name())
		}
	}
	if hs, err := cgroup.Hierarchies(); err == nil {
		f.Controllers = cgroup.Missing(hs)
	} else {
		f.Controllers = cgroup.Needed
	}
	_, err := os.Stat("/dev/loop-control")
	f.Loop = err == nil
	var one, two uint64
	f.ClusterFree, one = free(clusterDir)
	f.CacheFree, two = free(cacheDir)
	f.SameFilesystem = one == two
	f.Memory = available()
	return f
}

// free is the free space at a path that need not exist yet, and its device.
func free(path string) (bytes int64, device uint64) {
	for {
		var st unix.Stat_t
		var fs unix.Statfs_t
		if unix.Stat(path, &st) == nil && unix.Statfs(path, &fs) == nil {
			return int64(fs.Bavail) * fs.Bsize, st.Dev
		}
		if path == filepath.Dir(path) {
			return 0, 0
		}
		path = filepath.Dir(path)
	}
}

func available() int64 {
	data, _ := os.ReadFile("/proc/meminfo")
	m := regexp.MustCompile(`(?m)^MemAvailable:\s+(\d+) kB`).FindSubmatch(data)
	if m == nil {
		return 0
	}
	kb, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return kb << 10
}

// hasKernel says whether the kernel has a filesystem or a module, built in,
// loaded or to be loaded on demand. It loads nothing.
func hasKernel(name string) bool {
	if data, err := os.ReadFile("/proc/filesystems"); err == nil && slices.Contains(strings.Fields(string(data)), name) {
		return true
	}
	if _, err := os.Stat("/sys/module/" + name); err == nil {
		return true
	}
	if exec.Command("modprobe", "--dry-run", "--quiet", name).Run() == nil {
		return true
	}
	// A feature compiled in may leave no trace but its symbols.
	symbols, err := os.ReadFile("/proc/kallsyms")
	return err == nil && bytes.Contains(symbols, []byte(" "+symbol[name]+"\n")) && symbol[name] != ""
}

// symbol is a kernel function that a feature brings along.
var symbol = map[string]string{
	"nf_tables": "nft_register_expr",
	"veth":      "veth_newlink",
	"bridge":    "br_dev_setup",
}
