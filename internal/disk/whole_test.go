package disk_test

import (
	"io/fs"
	"maps"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/berth-storage/berth/internal/disk"
)

func TestWholeDisk(t *testing.T) {
	link := func(to string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink} }
	const scsi = "devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda"
	const nvme = "devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1"
	sys := fstest.MapFS{
		"sys/" + scsi + "/size":                             {},
		"sys/" + scsi + "/sda1/partition":                   {},
		"sys/" + scsi + "/sda2/partition":                   {},
		"sys/" + nvme + "/nvme0n1p1/partition":              {},
		"sys/devices/virtual/block/dm-0/dm/uuid":            {},
		"sys/devices/virtual/block/loop3/loop3p1/partition": {},
		"sys/dev/block/8:0":                                 link("../../" + scsi),
		"sys/dev/block/8:1":                                 link("../../" + scsi + "/sda1"),
		"sys/dev/block/8:2":                                 link("../../" + scsi + "/sda2"),
		"sys/dev/block/259:1":                               link("../../" + nvme + "/nvme0n1p1"),
		"sys/dev/block/254:0":                               link("../../devices/virtual/block/dm-0"),
		"sys/dev/block/7:3":                                 link("../../devices/virtual/block/loop3"),
	}
	for _, c := range []struct {
		major, minor int
		want         string
	}{
		{8, 0, "sda"}, {8, 1, "sda"}, {8, 2, "sda"}, {259, 1, "nvme0n1"}, {254, 0, "dm-0"}, {7, 3, "loop3"},
		{0, 47, "0:47"}, // tmpfs: no device
	} {
		if got := disk.WholeDisk(sys, c.major, c.minor); got != c.want {
			t.Errorf("%d:%d is on %s, want %s", c.major, c.minor, got, c.want)
		}
	}
}

// TestMediumAndNumber: what a partition lies on is known by its disk's number,
// and two disks with one number are noticed; disks without one, and the hidden
// ways of one that the kernel joins, are not taken for copies of each other.
func TestMediumAndNumber(t *testing.T) {
	sys := fstest.MapFS{}
	for _, d := range []struct {
		name, number string
		files        map[string]string
	}{
		{"sda", "8:0", map[string]string{"device/serial": "0001", "device/model": "USB bridge"}},
		{"sdb", "8:16", map[string]string{"device/serial": "0001", "device/model": "USB bridge"}},
		{"sdc", "8:32", map[string]string{"device/serial": "0001", "device/model": "Another"}},
		{"sdd", "8:48", map[string]string{"device/wwid": "naa.1", "device/serial": "0001", "device/model": "USB bridge"}},
		{"sde", "8:64", map[string]string{"device/wwid": "naa.1"}},
		{"nvme0n1", "259:0", map[string]string{"wwid": "eui.1"}},
		{"nvme0c0n1", "259:1", map[string]string{"wwid": "eui.1", "hidden": "1"}},
		{"loop0", "7:0", nil},
		{"loop1", "7:1", nil},
		{"dm-0", "254:0", map[string]string{"dm/uuid": "mpath-naa.1"}},
	} {
		d.files = maps.Clone(d.files)
		if d.files == nil {
			d.files = map[string]string{}
		}
		d.files["size"], d.files["dev"], d.files["uevent"] = "2048", d.number, "DEVNAME="+d.name
		for file, text := range d.files {
			for _, dir := range []string{"sys/block/" + d.name, "sys/dev/block/" + d.number} {
				sys[dir+"/"+file] = &fstest.MapFile{Data: []byte(text + "\n")}
			}
		}
	}
	for number, want := range map[int][]string{0: {"sdb"}, 16: {"sda"}, 32: nil, 48: {"sde"}, 64: {"sdd"}} {
		b, err := disk.ReadBlock(sys, 8, number)
		if err != nil {
			t.Fatal(err)
		}
		if got := disk.SameNumber(sys, b); !slices.Equal(got, want) {
			t.Errorf("with the number of %s are %q, want %q", b.Name, got, want)
		}
	}
	for _, number := range [][2]int{{259, 0}, {7, 0}, {254, 0}} {
		b, err := disk.ReadBlock(sys, number[0], number[1])
		if err != nil {
			t.Fatal(err)
		}
		if got := disk.SameNumber(sys, b); len(got) > 0 {
			t.Errorf("with the number of %s are %q, want none", b.Name, got)
		}
	}

	part := fstest.MapFS{
		"sys/dev/block/8:1":                          {Data: []byte("../../devices/host0/block/sda/sda1"), Mode: fs.ModeSymlink},
		"sys/devices/host0/block/sda":                {Mode: fs.ModeDir},
		"sys/devices/host0/block/sda/sda1/partition": {Data: []byte("1\n")},
		"sys/devices/host0/block/sda/sda1/size":      {Data: []byte("64\n")},
		"sys/devices/host0/block/sda/sda1/uevent":    {Data: []byte("DEVNAME=sda1\nDEVTYPE=partition\nPARTUUID=abc\n")},
		"sys/block/sda/dev":                          {Data: []byte("8:0\n")},
		"sys/dev/block/8:0/size":                     {Data: []byte("2048\n")},
		"sys/dev/block/8:0/device/wwid":              {Data: []byte("naa.7\n")},
	}
	for _, minor := range []int{0, 1} {
		if got := disk.MediumID(part, 8, minor); got != "wwid:naa.7" {
			t.Errorf("8:%d lies on %q, want wwid:naa.7", minor, got)
		}
	}
	if got := disk.MediumID(part, 0, 47); got != "" {
		t.Errorf("no device lies on %q", got)
	}
}
