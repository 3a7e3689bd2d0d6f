//go:build root

package csi_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/pool/dir"
)

const mib = 1 << 20

// directories and disks are nodes with a pool of each sort.
func directories(t *testing.T) *node { return nodeOf(t, func(p pool.Pool) pool.Pool { return p }) }

func disks(t *testing.T) *node {
	return nodeOf(t, func(p pool.Pool) pool.Pool { return &devices{Pool: p} })
}

func nodeOf(t *testing.T, as func(pool.Pool) pool.Pool) *node {
	tmp := t.TempDir()
	at := filepath.Join(tmp, "pool")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := dir.Open(t.Context(), folder(t, at), true, pool.Reserve{})
	if err != nil {
		t.Fatal(err)
	}
	return newNode(t, tmp, as(p))
}

// TestRootCreateRefused: what cannot be made has the code that the specification
// asks for, says what can be, and leaves nothing.
func TestRootCreateRefused(t *testing.T) {
	elsewhere := asked("a", mib, 0, mounted(""))
	elsewhere.AccessibilityRequirements = &spec.TopologyRequirement{Requisite: []*spec.Topology{{Segments: map[string]string{"berth.storage/node": "node-2"}}}}
	copied := asked("a", mib, 0, mounted(""))
	copied.VolumeContentSource = &spec.VolumeContentSource{}
	with := func(key, value string) *spec.CreateVolumeRequest {
		r := asked("a", mib, 0, mounted(""))
		r.Parameters = map[string]string{key: value}
		return r
	}
	directories, disks := directories(t), disks(t)
	for _, c := range []struct {
		n    *node
		r    *spec.CreateVolumeRequest
		want string
	}{
		{disks, asked("", mib, 0, mounted("")), "InvalidArgument: no name"},
		{disks, asked("a", -1, 0, mounted("")), "InvalidArgument: -1 … allowed: 0 and more"},
		{disks, asked("a", mib, -1, mounted("")), "InvalidArgument: -1 … allowed: 0 and more"},
		{disks, asked("a", 2*mib, mib, mounted("")), "InvalidArgument: 2097152 … over the limit of 1048576"},
		{disks, asked("a", math.MaxInt64, 0, raw()), "ResourceExhausted: 9223372036854775807 … choose another node"},
		{disks, asked("a", 1<<50, 0, mounted("")), "ResourceExhausted: 1125899906842624 bytes … are free"},
		{disks, asked("a", 1, 4095, raw()), "OutOfRange: 4096 … raise the limit"},
		{disks, asked("a", 1, mib, mounted("xfs")), "OutOfRange: xfs needs 314572800 bytes … raise the limit"},
		{disks, asked("a", mib, 0, mounted("ntfs")), "InvalidArgument: \"ntfs\" … allowed: btrfs, ext4, xfs"},
		{disks, asked("a", mib, 0, mounted("../ext4")), "InvalidArgument: allowed: btrfs, ext4, xfs"},
		{disks, asked("a", mib, 0, mounted("ext4"), mounted("xfs")), "InvalidArgument: both … two volumes"},
		{disks, asked("a", mib, 0, mounted("ext4", "errors=panic")), "InvalidArgument: \"errors=panic\" … allowed: … errors=remount-ro"},
		{disks, asked("a", mib, 0, mounted("", "nouuid")), "InvalidArgument: \"nouuid\" … allowed: … noatime"},
		{directories, asked("a", mib, 0, mounted("ext4")), "InvalidArgument: pool of directories … leave csi.storage.k8s.io/fstype out"},
		{directories, asked("a", mib, 0, mounted("", "discard")), "InvalidArgument: \"discard\" … allowed: … noatime"},
		{directories, asked("a", mib, 0), "InvalidArgument: no volume capability"},
		{directories, asked("a", mib, 0, nil), "InvalidArgument: allowed: mount, block"},
		{directories, asked("a", mib, 0, &spec.VolumeCapability{}), "InvalidArgument: no access type; allowed: mount, block"},
		{directories, asked("a", mib, 0, mounted(""), raw()), "InvalidArgument: both a filesystem and a block device"},
		{directories, asked("a", mib, 0, in(spec.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER, mounted(""))), "InvalidArgument: MULTI_NODE_MULTI_WRITER … allowed: … ReadWriteOncePod"},
		{directories, asked("a", mib, 0, in(spec.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY, mounted(""))), "InvalidArgument: allowed: SINGLE_NODE_WRITER"},
		{directories, asked("a", mib, 0, in(spec.VolumeCapability_AccessMode_UNKNOWN, mounted(""))), "InvalidArgument: allowed: SINGLE_NODE_WRITER"},
		{directories, asked("a", mib, 0, in(77, mounted(""))), "InvalidArgument: 77 … allowed: SINGLE_NODE_WRITER"},
		{directories, with("Pool", "disks"), "InvalidArgument: \"Pool\" … allowed: pool"},
		{directories, with("pool", "other"), "InvalidArgument: no pool \"other\" … it has: disks"},
		{directories, with("pool", "../disks"), "InvalidArgument: it has: disks"},
		{directories, elsewhere, "ResourceExhausted: node-1 only"},
		{directories, copied, "InvalidArgument: no snapshots or clones"},
	} {
		before := c.n.all()
		_, err := c.n.CreateVolume(t.Context(), c.r)
		answered(t, err, c.want)
		if after := c.n.all(); after != before {
			t.Errorf("%v has left something: before\n%s\nafter\n%s", c.r, before, after)
		}
	}
}

// TestRootSameNameOtherWish: a name that is taken by what does not fit.
func TestRootSameNameOtherWish(t *testing.T) {
	n := disks(t)
	first := asked("a", 20*mib, 0, mounted("ext4"))
	id := n.made(first)
	if again := n.made(first); again != id {
		t.Errorf("the same again is %s, not %s", again, id)
	}
	before := n.all()
	for _, r := range []*spec.CreateVolumeRequest{
		asked("a", 30*mib, 0, mounted("ext4")), asked("a", 1, 19*mib, mounted("ext4")), asked("a", 20*mib, 0, raw()), asked("a", 20*mib, 0, mounted("btrfs")),
		asked("a", 20*mib, 0, mounted("xfs")),
	} {
		_, err := n.CreateVolume(t.Context(), r)
		answered(t, err, "AlreadyExists: ")
	}
	if after := n.all(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	n.must(n.delete(id))
}

// TestRootRoundedUp: what is too small for a filesystem, or nothing, is as large
// as it has to be, and the answer says how large.
func TestRootRoundedUp(t *testing.T) {
	n := disks(t)
	for _, c := range []struct {
		r    *spec.CreateVolumeRequest
		want int64
	}{
		{asked("a", 1, 0, mounted("")), 16 * mib},
		{asked("b", 1, 400*mib, mounted("xfs")), 300 * mib},
		{asked("c", 4097, 0, raw()), 8192},
		{asked("d", 0, 40*mib, mounted("")), 40 * mib},
		{asked("e"+strings.Repeat("/..", 30), 1, 0, raw()), 4096},
	} {
		v, err := n.CreateVolume(t.Context(), c.r)
		n.must(err)
		if v.Volume.CapacityBytes != c.want {
			t.Errorf("%v has %d bytes; want %d", c.r, v.Volume.CapacityBytes, c.want)
		}
		n.must(n.delete(v.Volume.VolumeId))
	}
}
