package inventory_test

import (
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/inventory"
)

func TestClassify(t *testing.T) {
	mounts := []disk.Mount{{Point: "/srv/data"}, {Point: "/srv/other"}}
	for _, c := range []struct {
		name  string
		block disk.Block
		use   inventory.Use
		want  inventory.Verdict
		says  string // must be in the evidence
	}{
		{"nothing uses it", disk.Block{SizeBytes: 1}, inventory.Use{}, inventory.Free, "no partitions"},
		{"partition", disk.Block{SizeBytes: 1, Partition: true}, inventory.Use{}, inventory.Free, ""},
		{"no medium", disk.Block{}, inventory.Use{}, inventory.Unknown, "no size"},
		{"size below nothing", disk.Block{SizeBytes: -512}, inventory.Use{}, inventory.Unknown, "no size"},
		{"read-only", disk.Block{SizeBytes: 1, ReadOnly: true}, inventory.Use{}, inventory.Unknown, "read-only"},
		{"partitioned", disk.Block{SizeBytes: 1, Partitions: []string{"sda1", "sda2"}}, inventory.Use{}, inventory.InUse, "sda1, sda2"},
		{"held", disk.Block{SizeBytes: 1, Holders: []string{"md127"}}, inventory.Use{}, inventory.InUse, "md127"},
		{"swap", disk.Block{SizeBytes: 1}, inventory.Use{Swapped: true}, inventory.InUse, "swap"},
		{"mounted", disk.Block{SizeBytes: 1}, inventory.Use{Mounts: mounts}, inventory.InUse, "/srv/data"},
		{"marked", disk.Block{SizeBytes: 1}, inventory.Use{Member: "LVM2_member (at byte 536)"}, inventory.Foreign, "LVM2_member"},
		{"marked and used", disk.Block{SizeBytes: 1, Holders: []string{"dm-0"}}, inventory.Use{Member: "LVM2_member"}, inventory.InUse, "dm-0"},
		{"everything at once", disk.Block{ReadOnly: true, Partitions: []string{"a"}, Holders: []string{"b"}}, inventory.Use{Swapped: true, Mounts: mounts}, inventory.Unknown, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := inventory.Classify(c.block, c.use)
			if got.Verdict != c.want || got.Evidence == "" || !strings.Contains(got.Evidence, c.says) {
				t.Errorf("got %+v, want %s with %q", got, c.want, c.says)
			}
		})
	}
}
