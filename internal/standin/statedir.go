package standin

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
)

// stateName is the journal's directory within a discovery directory. Discovery
// leaves that name alone.
const stateName = ".berth"

// journalName is the journal within its state directory.
const journalName = "volumes"

// Host is what StateDir asks of the machine.
type Host struct {
	Mounts *disk.Mounts
	// InPod says that the process runs in a Kubernetes pod.
	InPod bool
	// IsDir reports whether a path is a directory, Writable whether the process
	// may make entries in it.
	IsDir, Writable func(dir string) bool
}

// imageTypes are the filesystems that containers' root directories lie on and
// machines' do not.
var imageTypes = []string{"overlay", "aufs", "fuse.fuse-overlayfs", "fuse-overlayfs"}

// volatileTypes lose their contents with the machine's or the pod's end.
var volatileTypes = []string{"tmpfs", "ramfs", "devtmpfs"}

// StateDir chooses the directory of an agent's journal. The established
// provisioner has none, so its manifests may leave the agent nothing that
// outlives its container but the discovery directories.
//
// It is api.StateDir where that lies on a mount, or where the process is in no
// container; unless that has no journal and an earlier start has left one in a
// ".berth", which must not be forgotten. Else it is a directory ".berth" in a
// class's mountDir: the first that exists, by the order of the classes, or else
// the first that can be made.
// Where there is none, api.StateDir is left. The warning says what the choice
// means to an operator, "" for nothing.
func StateDir(h Host, classes []config.Class) (dir, warning string) {
	var dirs []string
	for _, c := range classes {
		if !slices.Contains(dirs, c.MountDir) {
			dirs = append(dirs, c.MountDir)
		}
	}
	left := slices.IndexFunc(dirs, func(d string) bool {
		own := path.Join(d, stateName)
		return h.IsDir(own) && h.lasts(d) && h.Writable(own)
	})
	if h.lasts(api.StateDir) || !h.inContainer() {
		if left < 0 || h.IsDir(path.Join(api.StateDir, journalName)) || !h.IsDir(path.Join(dirs[left], stateName, journalName)) {
			return api.StateDir, ""
		}
		own := path.Join(dirs[left], stateName)
		return own, fmt.Sprintf("the journal stays in %s, where an earlier start has made it, and not in %s; to have it there, move the directory %s while no agent runs on the node",
			own, api.StateDir, path.Join(own, journalName))
	}
	if left >= 0 {
		return path.Join(dirs[left], stateName), ""
	}
	for _, d := range dirs {
		if h.IsDir(d) && h.lasts(d) && h.Writable(d) {
			return path.Join(d, stateName), ""
		}
	}
	return api.StateDir, fmt.Sprintf("the journal in %s ends with this container, as neither that nor any discovery directory (%s) is on a writable mount that lasts: "+
		"a PersistentVolume that is deleted by hand before a restart comes back after it with its data; mount a directory of the node at %[1]s", api.StateDir, strings.Join(dirs, ", "))
}

// inContainer reports whether what is written beside the mounts ends with a container.
func (h Host) inContainer() bool {
	root, ok := h.Mounts.At("/")
	return h.InPod || !ok || slices.Contains(imageTypes, root.FSType)
}

// lasts reports whether a directory lies on a mount of this node's own that
// outlives the pod.
func (h Host) lasts(dir string) bool {
	for at := dir; at != "/"; at = path.Dir(at) {
		if m, ok := h.Mounts.At(at); ok {
			return !slices.Contains(volatileTypes, m.FSType) && !disk.SharedType(m.FSType) && !strings.Contains(m.Root, "/kubernetes.io~empty-dir/")
		}
	}
	return false
}

// ThisHost is the machine that the process runs on.
func ThisHost(mounts *disk.Mounts, inPod bool) Host {
	is := func(mode uint32) func(string) bool {
		return func(dir string) bool {
			var st unix.Stat_t
			return unix.Stat(dir, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && unix.Access(dir, mode) == nil
		}
	}
	return Host{Mounts: mounts, InPod: inPod, IsDir: is(unix.F_OK), Writable: is(unix.W_OK | unix.X_OK)}
}
