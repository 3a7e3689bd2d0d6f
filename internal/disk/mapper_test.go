package disk

import (
	"slices"
	"testing"
	"testing/fstest"
)

func TestReadMapped(t *testing.T) {
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n")} }
	got, err := ReadMapped(fstest.MapFS{
		"sys/block/dm-0/size":         text("8"),
		"sys/block/dm-0/dm/name":      text("vg0-a--b"),
		"sys/block/dm-0/dm/uuid":      text("LVM-abcdef"),
		"sys/block/dm-0/dm/suspended": text("0"),
		"sys/block/dm-1/size":         text("16"),
		"sys/block/dm-1/dm/name":      text("crypt"),
		"sys/block/dm-1/dm/suspended": text("1"),
		"sys/block/dm-2/dm/name":      text("gone"),
		"sys/block/sda/size":          text("8"),
	})
	want := []Mapped{
		{Device: "dm-0", Name: "vg0-a--b", UUID: "LVM-abcdef", SizeBytes: 4096},
		{Device: "dm-1", Name: "crypt", SizeBytes: 8192, Suspended: true},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	if _, err := ReadMapped(fstest.MapFS{}); err == nil {
		t.Error("without sysfs there is no error")
	}
}
