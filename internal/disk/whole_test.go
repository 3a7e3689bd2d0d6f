package disk_test

import (
	"io/fs"
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
