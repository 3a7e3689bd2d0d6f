package disk

import (
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Mount is one line of mountinfo(5).
type Mount struct {
	ID           int
	Major, Minor int
	Root         string // the directory of the filesystem that is mounted
	Point        string // where, as this process sees it
	FSType       string
	Source       string
	ReadOnly     bool // the mount or its filesystem is read-only
}

// Mounts is a mount table.
type Mounts struct {
	byPoint map[string]Mount
	byDev   map[[2]int][]Mount
}

// ReadMounts reads the mount table of this process from the file
// proc/self/mountinfo of sys, which is normally os.DirFS("/").
func ReadMounts(sys fs.FS) (*Mounts, error) {
	f, err := sys.Open("proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading mountinfo: %w", err)
	}
	defer f.Close()
	return ParseMounts(f)
}

// ParseMounts reads a mount table in the form of mountinfo(5). Where several
// mounts lie on one point, the last one, which hides the others, counts.
func ParseMounts(r io.Reader) (*Mounts, error) {
	infos, err := mountinfo.GetMountsFromReader(r, nil)
	if err != nil {
		return nil, fmt.Errorf("parsing mountinfo: %w", err)
	}
	t := &Mounts{byPoint: make(map[string]Mount, len(infos)), byDev: make(map[[2]int][]Mount)}
	for _, i := range infos {
		m := Mount{ID: i.ID, Major: i.Major, Minor: i.Minor, Root: i.Root, Point: i.Mountpoint,
			FSType: i.FSType, Source: i.Source, ReadOnly: hasOption(i.Options, "ro") || hasOption(i.VFSOptions, "ro")}
		t.byPoint[m.Point] = m
		dev := [2]int{m.Major, m.Minor}
		t.byDev[dev] = append(t.byDev[dev], m)
	}
	return t, nil
}

// At returns the mount whose mount point is path.
func (t *Mounts) At(path string) (Mount, bool) {
	m, ok := t.byPoint[path]
	return m, ok
}

// OfDevice returns the mounts of the filesystem on device major:minor.
func (t *Mounts) OfDevice(major, minor int) []Mount {
	return t.byDev[[2]int{major, minor}]
}

func hasOption(options, want string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == want {
			return true
		}
	}
	return false
}

// sharedTypes are filesystems whose contents other nodes can see and change.
// A fuse filesystem counts as one, because nothing tells what is behind it.
// Source: the network filesystems of Linux' fs/Kconfig, "Network File Systems"
// and the cluster filesystems beside them.
var sharedTypes = map[string]bool{
	"nfs": true, "nfs4": true, "ceph": true, "cifs": true, "smb3": true, "9p": true, "afs": true,
	"glusterfs": true, "lustre": true, "gpfs": true, "beegfs": true, "orangefs": true, "pvfs2": true,
	"ocfs2": true, "gfs2": true, "fuse": true, "fuseblk": false, "virtiofs": true, "davfs": true, "ncpfs": true, "coda": true,
}

// SharedType reports whether a filesystem of this type is one that other nodes
// may see too.
func SharedType(fsType string) bool {
	return sharedTypes[fsType] || strings.HasPrefix(fsType, "fuse.")
}
