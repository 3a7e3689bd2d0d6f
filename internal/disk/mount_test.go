package disk_test

import (
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/berth-storage/berth/internal/disk"
)

func TestParseMounts(t *testing.T) {
	for _, c := range []struct {
		name, lines, at string
		want            disk.Mount
	}{
		{"a disk", "36 35 98:0 / /mnt/d1 rw,noatime - ext4 /dev/sda rw", "/mnt/d1",
			disk.Mount{ID: 36, Major: 98, Root: "/", Point: "/mnt/d1", FSType: "ext4", Source: "/dev/sda"}},
		{"escaped names", `36 35 98:0 / /mnt/a\040b\011c\012d\134e rw - ext4 /dev/s\040a rw`, "/mnt/a b\tc\nd\\e",
			disk.Mount{ID: 36, Major: 98, Root: "/", Point: "/mnt/a b\tc\nd\\e", FSType: "ext4", Source: "/dev/s a"}},
		{"escaped root", `36 35 98:0 /a\040b /mnt/d1 rw - ext4 /dev/sda rw`, "/mnt/d1",
			disk.Mount{ID: 36, Major: 98, Root: "/a b", Point: "/mnt/d1", FSType: "ext4", Source: "/dev/sda"}},
		{"stacked: the last hides the others", "36 35 98:0 / /mnt/d1 rw - ext4 /dev/sda rw\n40 36 98:16 / /mnt/d1 rw - xfs /dev/sdb rw", "/mnt/d1",
			disk.Mount{ID: 40, Major: 98, Minor: 16, Root: "/", Point: "/mnt/d1", FSType: "xfs", Source: "/dev/sdb"}},
		{"bind mount", "36 35 98:0 /sub/dir /mnt/d1 rw - ext4 /dev/sda rw", "/mnt/d1",
			disk.Mount{ID: 36, Major: 98, Root: "/sub/dir", Point: "/mnt/d1", FSType: "ext4", Source: "/dev/sda"}},
		{"propagation fields", "36 35 98:0 / /mnt/d1 rw shared:1 master:2 propagate_from:3 - ext4 /dev/sda rw", "/mnt/d1",
			disk.Mount{ID: 36, Major: 98, Root: "/", Point: "/mnt/d1", FSType: "ext4", Source: "/dev/sda"}},
		{"read-only mount", "36 35 98:0 / /mnt/d1 ro,relatime - ext4 /dev/sda rw", "/mnt/d1",
			disk.Mount{ID: 36, Major: 98, Root: "/", Point: "/mnt/d1", FSType: "ext4", Source: "/dev/sda", ReadOnly: true}},
		{"read-only filesystem", "36 35 98:0 / /mnt/d1 rw - ext4 /dev/sda ro,errors=remount-ro", "/mnt/d1",
			disk.Mount{ID: 36, Major: 98, Root: "/", Point: "/mnt/d1", FSType: "ext4", Source: "/dev/sda", ReadOnly: true}},
		{"not read-only by an option's tail", "36 35 98:0 / /mnt/d1 rw,errors=remount-ro - ext4 /dev/sda rw,errors=remount-ro", "/mnt/d1",
			disk.Mount{ID: 36, Major: 98, Root: "/", Point: "/mnt/d1", FSType: "ext4", Source: "/dev/sda"}},
		{"no device", "36 35 0:52 / /mnt/d1 rw - nfs4 server:/export rw", "/mnt/d1",
			disk.Mount{ID: 36, Minor: 52, Root: "/", Point: "/mnt/d1", FSType: "nfs4", Source: "server:/export"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mounts, err := disk.ParseMounts(strings.NewReader(c.lines + "\n"))
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := mounts.At(c.at); !ok || got != c.want {
				t.Errorf("got  %+v, %v\nwant %+v", got, ok, c.want)
			}
		})
	}
}

func TestMountsByPlaceAndDevice(t *testing.T) {
	table := `36 35 8:1 / /mnt/d1 rw - ext4 /dev/sda1 rw
37 35 8:1 /sub /mnt/d2 rw - ext4 /dev/sda1 rw
38 35 8:17 / /mnt/d1x rw - xfs /dev/sdb1 rw
`
	mounts, err := disk.ReadMounts(fstest.MapFS{"proc/self/mountinfo": {Data: []byte(table)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/mnt", "/mnt/d", "/mnt/d1/", "/mnt/d1/sub", ""} {
		if m, ok := mounts.At(path); ok {
			t.Errorf("%q is no mount point, got %+v", path, m)
		}
	}
	var points []string
	for _, m := range mounts.OfDevice(8, 1) {
		points = append(points, m.Point)
	}
	if want := []string{"/mnt/d1", "/mnt/d2"}; !reflect.DeepEqual(points, want) {
		t.Errorf("mounts of 8:1: %q, want %q", points, want)
	}
	if m := mounts.OfDevice(8, 2); len(m) != 0 {
		t.Errorf("mounts of 8:2: %+v, want none", m)
	}
	if _, err := disk.ReadMounts(fstest.MapFS{}); err == nil {
		t.Error("no mountinfo, and no error")
	}
	if _, err := disk.ParseMounts(strings.NewReader("36 35 8:1 / /mnt\n")); err == nil {
		t.Error("a torn line, and no error")
	}
}

func TestSharedType(t *testing.T) {
	for _, fs := range []string{"nfs", "nfs4", "ceph", "cifs", "glusterfs", "fuse", "fuse.glusterfs", "fuse.sshfs", "9p", "virtiofs", "ocfs2", "gfs2", "lustre"} {
		if !disk.SharedType(fs) {
			t.Errorf("%s is not taken for shared", fs)
		}
	}
	for _, fs := range []string{"ext4", "xfs", "btrfs", "tmpfs", "fuseblk", "f2fs", "overlay", "zfs", "vfat", "nfsd", "fusectl", ""} {
		if disk.SharedType(fs) {
			t.Errorf("%s is taken for shared", fs)
		}
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add("36 35 98:0 / /mnt/d1 rw,noatime shared:1 - ext4 /dev/sda rw\n")
	f.Add(`36 35 98:0 /a\040b /mnt/\134\011 ro - ext4 /dev/sda rw` + "\n")
	f.Add("36 35 0:1 / / rw - - - \n")
	f.Add("36 35 98:0 / /mnt/\\04 rw - ext4 x y\n")
	f.Fuzz(func(t *testing.T, table string) {
		mounts, err := disk.ParseMounts(strings.NewReader(table))
		if (mounts == nil) != (err != nil) {
			t.Errorf("got %v with error %v", mounts, err)
		}
	})
}
