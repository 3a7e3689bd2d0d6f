// Package config reads the agent's native configuration, berth.storage/v1alpha1.
//
// It decodes strictly: a field that it does not know, a value that it does not
// allow, or two classes or pools that would have the same disk are refused, all of
// them in one error whose lines name file, line and field. It fills in the
// defaults, so what Decode returns is complete.
//
// It does not look at the machine or at the cluster: whether a directory
// exists is the discovery's business, and whether a StorageClass exists is
// checked by MissingClasses against a list that the caller brings. It does not
// keep the last good configuration either; the agent does.
package config

import (
	"path"
	"strings"
	"time"
)

// Agent is the configuration of one node's agent, complete with defaults.
type Agent struct {
	// Classes has at least one element where Pools has none. Their names differ,
	// and so do their directories, but for classes that divide one by NamePattern:
	// an entry that several of those match is the first one's.
	Classes []Class
	// Pools are what volumes are carved out of. Their names differ, and none is in
	// or above another or a class's directory.
	Pools []Pool
	// NodeLabels are the keys of node labels that are copied onto the node's
	// PersistentVolumes. A label that the node lacks is left out.
	NodeLabels []string
	// Labels are put on every PersistentVolume, over those of NodeLabels.
	Labels map[string]string
	// OwnerReference makes every PersistentVolume a dependent of its Node object,
	// so that it goes when the Node object does.
	OwnerReference bool
	// NodeNameOnly leaves the node's UID out of the provisioner's name that
	// PersistentVolumes carry.
	NodeNameOnly bool
	// StartupTaint is the key of a taint that is taken off the node once its
	// volumes are published. Empty: none.
	StartupTaint string
	// JobTolerations are put on the Jobs of classes whose Wipe.Job is set.
	JobTolerations []Toleration
	// RescanInterval is how often everything is looked at anew although no
	// event asked for it. At least MinRescanInterval.
	RescanInterval time.Duration
}

// Class says which entries of one directory are published under one StorageClass.
type Class struct {
	// Name is the StorageClass.
	Name string
	// HostDir is the discovery directory as the node sees it, absolute and
	// clean. PersistentVolumes carry it.
	HostDir string
	// MountDir is the same directory as the agent sees it.
	MountDir string
	// VolumeMode says how volumes of the class are handed to pods.
	VolumeMode VolumeMode
	// AccessMode is the one access mode that the class's volumes offer.
	AccessMode AccessMode
	// FSType is the filesystem that the kubelet makes on a block device in a
	// Filesystem class. Empty leaves the choice to the kubelet.
	FSType string
	// NamePattern is a comma list of globs; see Matches.
	NamePattern string
	// Wipe says how a block device of the class is erased once it was released.
	// Directories always have their contents removed.
	Wipe Wipe
	// Selector has terms that are ORed onto the node affinity of the class's
	// volumes, for disks that several nodes reach.
	Selector []SelectorTerm
	// WhenGone says what is done, besides reporting it, while the disk of a
	// claimed volume of the class is gone.
	WhenGone WhenGone
	// Shared admits filesystems that other nodes see too. They are never wiped.
	Shared bool
	// ReadOnly serves data that others put there: mounted read-only, kept on release.
	ReadOnly bool
	// Line is the line of the file on which the class's name stands.
	Line int
}

// VolumeMode is a PersistentVolume's volume mode, spelt as Kubernetes does.
type VolumeMode string

// The volume modes.
const (
	Filesystem VolumeMode = "Filesystem"
	Block      VolumeMode = "Block"
)

// AccessMode is a PersistentVolume's access mode, spelt as Kubernetes does.
type AccessMode string

// The access modes.
const (
	ReadWriteOnce    AccessMode = "ReadWriteOnce"
	ReadWriteOncePod AccessMode = "ReadWriteOncePod"
	ReadOnlyMany     AccessMode = "ReadOnlyMany"
	ReadWriteMany    AccessMode = "ReadWriteMany"
)

// WhenGone says what is done while the disk of a claimed volume is gone.
type WhenGone string

// What may be done. The taint is api.TaintDiskGone.
const (
	Report    WhenGone = "Report"    // on the PersistentVolume, the claim and the pods
	TaintNode WhenGone = "TaintNode" // the same, and no pod is placed on the node
)

// Defaults and limits of the optional fields.
const (
	DefaultNamePattern    = "*"
	DefaultRescanInterval = 5 * time.Minute
	MinRescanInterval     = 10 * time.Second
)

var (
	volumeModes = []string{string(Filesystem), string(Block)}
	accessModes = []string{string(ReadWriteOnce), string(ReadWriteOncePod), string(ReadOnlyMany), string(ReadWriteMany)}
	whenGone    = []string{string(Report), string(TaintNode)}
	// fsTypes are the filesystems that the kubelet can make with the tools a
	// node usually has.
	fsTypes = []string{"ext4", "ext3", "ext2", "xfs", "btrfs"}
)

// Matches reports whether an entry of the class's directory is the class's. The
// name is compared with every glob of NamePattern, as path.Match does, so a
// name with spaces or newlines matches "*". Blanks around a glob are not part of it.
func (c Class) Matches(name string) bool {
	for _, glob := range globs(c.NamePattern) {
		if ok, err := path.Match(glob, name); err == nil && ok {
			return true
		}
	}
	return false
}

func globs(pattern string) []string {
	list := strings.Split(pattern, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}
