package csi

import (
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

type accessMode = csi.VolumeCapability_AccessMode_Mode

// accessModes are those that a disk inside one node can serve.
var accessModes = []accessMode{
	csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER,
}

// A wish is what capabilities ask a volume to be.
type wish struct {
	mode   pool.Mode
	fsType string // "" for whatever it has
}

// wishOf is what capabilities ask for, with a filesystem for a device that is
// asked for without one; where that is "", its mount options are not looked at.
// An error is InvalidArgument and names what is allowed.
func wishOf(p pool.Pool, fsType string, capabilities ...*csi.VolumeCapability) (w wish, err error) {
	if len(capabilities) == 0 || capabilities[0] == nil {
		return w, refuse(codes.InvalidArgument, "the request has no volume capability")
	}
	for _, c := range capabilities {
		m := pool.Filesystem
		switch {
		case c.GetBlock() != nil:
			m = pool.Block
		case c.GetMount() == nil:
			return w, refuse(codes.InvalidArgument, "a volume capability has no access type; allowed: mount, block")
		}
		if w.mode != "" && m != w.mode {
			return w, refuse(codes.InvalidArgument, "a volume cannot be both a filesystem and a block device; ask for two volumes")
		}
		w.mode = m
		if err := checkAccess(c.GetAccessMode().GetMode()); err != nil {
			return w, err
		}
		if other := c.GetMount().GetFsType(); other != "" && w.fsType != "" && other != w.fsType {
			return w, refuse(codes.InvalidArgument, "a volume cannot have both the filesystem %q and %q; ask for two volumes", w.fsType, other)
		} else if other != "" {
			w.fsType = other
		}
	}
	if w.mode == pool.Block {
		return w, nil
	}
	if w.fsType == "" && p.Features().Device {
		w.fsType = fsType
	}
	for _, c := range capabilities {
		if err := checkMount(p, w.fsType, c.GetMount().GetMountFlags()); err != nil {
			return w, err
		}
	}
	return w, nil
}

func checkAccess(mode accessMode) error {
	var allowed []string
	for _, m := range accessModes {
		if m == mode {
			return nil
		}
		allowed = append(allowed, m.String())
	}
	return refuse(codes.InvalidArgument, "the access mode %s cannot be had of a disk inside one node; allowed: %s (ReadWriteOnce, ReadWriteOncePod)", mode, strings.Join(allowed, ", "))
}

// checkMount looks at the filesystem and the mount options that are asked for.
func checkMount(p pool.Pool, fsType string, options []string) error {
	switch {
	case !p.Features().Device && fsType != "":
		return refuse(codes.InvalidArgument, "the filesystem %q cannot be made in a pool of directories, whose filesystem is there already; leave csi.storage.k8s.io/fstype out", fsType)
	case !p.Features().Device:
		_, err := host.ParseMountOptions("", options)
		return err
	case fsType == "":
		return nil
	}
	if _, err := host.MinFilesystem(fsType); err != nil {
		return err
	}
	_, err := host.ParseMountOptions(fsType, options)
	return err
}
