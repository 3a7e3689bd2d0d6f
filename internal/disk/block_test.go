package disk_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/berth-storage/berth/internal/disk"
)

// sysfs is a machine's sysfs with one device, from lines "file: text" below
// its directory; "\n" within a text is written \n.
func sysfs(number, lines string) fstest.MapFS {
	out := fstest.MapFS{}
	for line := range strings.Lines(lines) {
		if name, text, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			text = strings.ReplaceAll(strings.TrimSpace(text), `\n`, "\n")
			out["sys/dev/block/"+number+"/"+name] = &fstest.MapFile{Data: []byte(text + "\n")}
		}
	}
	return out
}

func TestReadBlock(t *testing.T) {
	for _, c := range []struct {
		name         string
		major, minor int
		lines        string
		want         disk.Block
		id           disk.ID
	}{
		{"NVMe", 259, 0, `
			size: 1875385008
			ro: 0
			uevent: MAJOR=259\nMINOR=0\nDEVNAME=nvme0n1\nDEVTYPE=disk\nDISKSEQ=1
			wwid: eui.0025385b21404321
			device/serial: S4EVNX0R123456
			device/model: Samsung SSD 970 EVO Plus 1TB
			nvme0n1p1/partition: 1
			nvme0n1p2/partition: 2
			queue/rotational: 0`,
			disk.Block{Name: "nvme0n1", SizeBytes: 1875385008 * 512, WWID: "eui.0025385b21404321", Serial: "S4EVNX0R123456", Model: "Samsung SSD 970 EVO Plus 1TB", Partitions: []string{"nvme0n1p1", "nvme0n1p2"}},
			"wwid:eui.0025385b21404321"},
		{"SCSI disk, with the WWID of its device", 8, 0, `
			size: 2048
			uevent: DEVNAME=sda\nDEVTYPE=disk
			device/wwid: naa.5000c500a1b2c3d4
			device/model: ST4000NM0035`,
			disk.Block{Name: "sda", SizeBytes: 1 << 20, WWID: "naa.5000c500a1b2c3d4", Model: "ST4000NM0035"},
			"wwid:naa.5000c500a1b2c3d4"},
		{"virtio disk with a serial number only", 254, 0, `
			size: 2048
			serial: disk-7
			uevent: DEVNAME=vda\nDEVTYPE=disk`,
			disk.Block{Name: "vda", SizeBytes: 1 << 20, Serial: "disk-7"}, "serial::disk-7"},
		{"partition with its GUID", 8, 1, `
			size: 4096
			ro: 1
			partition: 1
			uevent: DEVNAME=sda1\nDEVTYPE=partition\nPARTN=1\nPARTUUID=0B1C2D3E-AAAA-4BBB-8CCC-0123456789AB
			holders/dm-0/size: 1`,
			disk.Block{Name: "sda1", SizeBytes: 2 << 20, ReadOnly: true, Partition: true, PartUUID: "0B1C2D3E-AAAA-4BBB-8CCC-0123456789AB", Holders: []string{"dm-0"}},
			"partuuid:0b1c2d3e-aaaa-4bbb-8ccc-0123456789ab"},
		{"partition whose GUID the kernel does not tell", 8, 1, `
			size: 4096
			uevent: DEVNAME=sda1\nDEVTYPE=partition\nPARTN=1
			serial: of-the-whole-disk`,
			disk.Block{Name: "sda1", SizeBytes: 2 << 20, Partition: true, Serial: "of-the-whole-disk"}, ""},
		{"logical volume", 253, 0, `
			size: 8192
			uevent: DEVNAME=dm-0\nDEVTYPE=disk
			dm/uuid: LVM-abcdef
			dm/name: vg-lv`,
			disk.Block{Name: "dm-0", SizeBytes: 4 << 20, DMUUID: "LVM-abcdef"}, "dm:LVM-abcdef"},
		{"md array", 9, 127, `
			size: 8192
			uevent: DEVNAME=md127\nDEVTYPE=disk
			md/uuid: 11111111-2222-3333-4444-555555555555`,
			disk.Block{Name: "md127", SizeBytes: 4 << 20, MDUUID: "11111111-2222-3333-4444-555555555555"}, "md:11111111-2222-3333-4444-555555555555"},
		{"member of an md array", 8, 16, `
			size: 8192
			uevent: DEVNAME=sdb\nDEVTYPE=disk
			device/wwid: naa.1
			holders/md127/size: 1`,
			disk.Block{Name: "sdb", SizeBytes: 4 << 20, WWID: "naa.1", Holders: []string{"md127"}}, "wwid:naa.1"},
		{"loop device", 7, 3, `
			size: 20480
			uevent: DEVNAME=loop3\nDEVTYPE=disk
			loop/backing_file: /var/lib/disks/a b.img`,
			disk.Block{Name: "loop3", SizeBytes: 10 << 20, LoopFile: "/var/lib/disks/a b.img"}, "loop:/var/lib/disks/a b.img"},
		{"nothing but a size", 7, 4, `size: 0`, disk.Block{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := disk.ReadBlock(sysfs(fmt.Sprintf("%d:%d", c.major, c.minor), c.lines), c.major, c.minor)
			if err != nil {
				t.Fatal(err)
			}
			c.want.Major, c.want.Minor = c.major, c.minor
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			if got.ID() != c.id {
				t.Errorf("identity %q, want %q", got.ID(), c.id)
			}
		})
	}
	for name, sys := range map[string]fstest.MapFS{"absent": {}, "size missing": sysfs("8:0", "ro: 0"), "size no number": sysfs("8:0", "size: big")} {
		if b, err := disk.ReadBlock(sys, 8, 0); err == nil {
			t.Errorf("%s: got %+v and no error", name, b)
		}
	}
}

// A better identity is preferred to a worse one.
func TestIdentityOrder(t *testing.T) {
	b := disk.Block{PartUUID: "P", DMUUID: "d", MDUUID: "m", WWID: "w", Serial: "s", Model: "mo", LoopFile: "/l"}
	for _, step := range []struct {
		want   disk.ID
		remove *string
	}{
		{"partuuid:p", &b.PartUUID}, {"dm:d", &b.DMUUID}, {"md:m", &b.MDUUID}, {"wwid:w", &b.WWID}, {"serial:mo:s", &b.Serial}, {"loop:/l", &b.LoopFile}, {"", &b.Model},
	} {
		if got := b.ID(); got != step.want || got.Weak() {
			t.Errorf("got %q, want %q", got, step.want)
		}
		*step.remove = ""
	}
}

func TestWeakIdentity(t *testing.T) {
	weak := disk.WeakID("nfs4", "shared", "d1")
	if !weak.Weak() || weak == disk.WeakID("nfs4", "shared", "d2") || weak == disk.WeakID("nfs4", "other", "d1") {
		t.Errorf("%q does not name its place, or does not say so", weak)
	}
	root, sub := disk.FilesystemID("u", "/"), disk.FilesystemID("u", "/sub")
	if root.Weak() || root == sub || root == disk.FilesystemID("v", "/") {
		t.Errorf("%q and %q", root, sub)
	}
}

func TestSwapped(t *testing.T) {
	sys := fstest.MapFS{"proc/swaps": {Data: []byte("Filename\t\tType\t\tSize\n/dev/sda2                               partition\t1000\n/swapfile file 5\n")}}
	for name, want := range map[string]bool{"sda2": true, "sda": false, "sda22": false, "swapfile": false} {
		if got := (disk.Block{Name: name}).Swapped(sys); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if (disk.Block{Name: "sda2"}).Swapped(fstest.MapFS{}) {
		t.Error("swapped on a machine without swap")
	}
}
