package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// A Holder is a process that has something open. Only processes of this one's
// PID namespace and those beneath can be seen: in a container that has its own,
// only the container's.
type Holder struct {
	PID       int
	Command   string // its short name, "" when it has just ended
	Container string // the beginning of its container's ID, "" when it is in none
	Path      string // what it has open, as seen from here
}

// String names the process and what it has open.
func (h Holder) String() string {
	in := ""
	if h.Container != "" {
		in = " of container " + h.Container
	}
	return fmt.Sprintf("process %d (%s)%s has %q open", h.PID, h.Command, in, h.Path)
}

// namedHolders is how many holders an error names.
const namedHolders = 3

// held is ErrBusy with the holders, nil when there are none.
func held(holders []Holder) error {
	if len(holders) == 0 {
		return nil
	}
	var names []string
	for _, h := range holders[:min(len(holders), namedHolders)] {
		names = append(names, h.String())
	}
	more := ""
	if n := len(holders) - namedHolders; n > 0 {
		more = fmt.Sprintf(", and %d more do", n)
	}
	return fmt.Errorf("%w: %s%s", ErrBusy, strings.Join(names, ", "), more)
}

// An opened is something that a process has open. What is read of it never
// waits for a disk or a server.
type opened struct {
	dir  string // the process's directory in /proc
	link string // the link's name in there, such as fd/3
	unix.Statx_t
}

func (o opened) holder() Holder {
	pid, _ := strconv.Atoi(filepath.Base(o.dir)) // which it is: see eachOpened
	path, _ := os.Readlink(filepath.Join(o.dir, o.link))
	// Neither takes the lock of the process's memory, which a process that hangs
	// may hold.
	comm, _ := os.ReadFile(filepath.Join(o.dir, "comm"))
	cgroup, _ := os.ReadFile(filepath.Join(o.dir, "cgroup"))
	h := Holder{PID: pid, Command: strings.TrimSpace(string(comm)), Path: path}
	if id := containerID.Find(cgroup); id != nil {
		h.Container = string(id[:12]) // as much as the tools of container runtimes show
	}
	return h
}

// containerID is an ID of containerd, CRI-O and Docker, with which the name of
// the container's cgroup ends.
var containerID = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

// eachOpened calls look for all that the other processes have open: files, the
// working and root directories, the program. It returns one holder for each
// process for which look is true. Mapped files whose descriptors are closed are
// not seen, as asking for them can wait for a process that hangs.
func eachOpened(look func(o opened) bool) ([]Holder, error) {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("looking for processes: %w", err)
	}
	var holders []Holder
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		dir := filepath.Join("/proc", p.Name())
		links := []string{"cwd", "root", "exe"}
		fds, _ := os.ReadDir(filepath.Join(dir, "fd")) // it may have ended, or not be ours to see
		for _, fd := range fds {
			links = append(links, "fd/"+fd.Name())
		}
		for _, link := range links {
			o := opened{dir: dir, link: link}
			const flags, want = unix.AT_STATX_DONT_SYNC | unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE | unix.STATX_MNT_ID
			if unix.Statx(unix.AT_FDCWD, filepath.Join(dir, link), flags, want, &o.Statx_t) != nil || !look(o) {
				continue
			}
			holders = append(holders, o.holder())
			break
		}
	}
	return holders, nil
}

// Held returns ErrBusy with the names of the processes that have something in
// the tree open, nil when there are none or none can be seen.
func (t *Tree) Held() error {
	place, err := t.place()
	if err != nil || place == nil {
		return err
	}
	mounts := map[uint64]*mountinfo.Info{} // of this filesystem, in all namespaces that were looked into
	looked := map[string]bool{}
	process := ""
	holders, err := eachOpened(func(o opened) bool {
		if o.dir != process {
			process = o.dir
			lookInto(o.dir, looked, mounts, place)
		}
		m := mounts[o.Mnt_id]
		if m == nil { // of another filesystem, or unmounted under a process that keeps it
			return place.Root == "/" && unix.Mkdev(o.Dev_major, o.Dev_minor) == t.root.dev
		}
		if beneath(m.Root, place.Root) {
			return true
		}
		path, _ := os.Readlink(filepath.Join(o.dir, o.link))
		rest, ok := strings.CutPrefix(path, strings.TrimSuffix(m.Mountpoint, "/"))
		return ok && beneath(filepath.Join(m.Root, rest), place.Root)
	})
	return errors.Join(err, held(holders))
}

// place is the tree's filesystem and where in it the tree is: Major, Minor and
// Root of the answer. It is nil where the kernel does not tell.
func (t *Tree) place() (*mountinfo.Info, error) {
	if t.mount == 0 {
		return nil, nil
	}
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(t.root.fd))
	if err != nil {
		return nil, fmt.Errorf("resolving %q: %w", t.path, err)
	}
	infos, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return uint64(m.ID) != t.mount, false })
	if err != nil {
		return nil, fmt.Errorf("reading mountinfo: %w", err)
	}
	if len(infos) == 0 {
		return nil, nil
	}
	place := *infos[0]
	place.Root = filepath.Join(place.Root, strings.TrimPrefix(path, strings.TrimSuffix(place.Mountpoint, "/")))
	return &place, nil
}

// lookInto adds the mounts of a filesystem that a process sees, unless another
// that sees the same was looked into.
func lookInto(dir string, looked map[string]bool, mounts map[uint64]*mountinfo.Info, of *mountinfo.Info) {
	namespace, err := os.Readlink(filepath.Join(dir, "ns/mnt"))
	root, rootErr := os.Readlink(filepath.Join(dir, "root"))
	key := namespace + " " + root
	if err != nil || rootErr != nil || looked[key] {
		return
	}
	looked[key] = true
	f, err := os.Open(filepath.Join(dir, "mountinfo"))
	if err != nil {
		return // it has ended
	}
	defer f.Close()
	infos, _ := mountinfo.GetMountsFromReader(f, func(m *mountinfo.Info) (skip, stop bool) {
		return m.Major != of.Major || m.Minor != of.Minor, false
	})
	for _, m := range infos {
		mounts[uint64(m.ID)] = m
	}
}

// beneath says whether a path is the directory or in it.
func beneath(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
