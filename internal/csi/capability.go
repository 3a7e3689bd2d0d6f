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

// modeOf is the volume mode that capabilities ask for. An error is
// InvalidArgument and names what is allowed.
func modeOf(p pool.Pool, capabilities ...*csi.VolumeCapability) (mode pool.Mode, err error) {
	if len(capabilities) == 0 || capabilities[0] == nil {
		return "", refuse(codes.InvalidArgument, "the request has no volume capability")
	}
	for _, c := range capabilities {
		m := pool.Filesystem
		switch {
		case c.GetBlock() != nil:
			m = pool.Block
		case c.GetMount() == nil:
			return "", refuse(codes.InvalidArgument, "a volume capability has no access type; allowed: mount, block")
		}
		if mode != "" && m != mode {
			return "", refuse(codes.InvalidArgument, "a volume cannot be both a filesystem and a block device; ask for two volumes")
		}
		mode = m
		if err := checkAccess(c.GetAccessMode().GetMode()); err != nil {
			return "", err
		}
		if err := checkMount(p, c.GetMount()); err != nil {
			return "", err
		}
	}
	return mode, nil
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
func checkMount(p pool.Pool, m *csi.VolumeCapability_MountVolume) error {
	if m == nil || p.Features().Device {
		return nil
	}
	if m.GetFsType() != "" {
		return refuse(codes.InvalidArgument, "the filesystem %q cannot be made in a pool of directories, whose filesystem is there already; leave csi.storage.k8s.io/fstype out", m.GetFsType())
	}
	_, err := host.BindFlags(m.GetMountFlags())
	return err
}
