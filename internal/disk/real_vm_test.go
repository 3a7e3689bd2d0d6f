//go:build vm

package disk_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/disk"
)

// The machine's disks, see test/vm/cmd/vmexec.
const (
	nvme1      = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_BERTH-NVME-1"
	nvme2      = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_BERTH-NVME-2"
	nvme3      = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_BERTH-NVME-3"
	scsi1      = "/dev/disk/by-id/scsi-35000c500a1b2c3d4"
	virtio1    = "/dev/disk/by-id/virtio-BERTH-VIRTIO-1"
	controller = "51454d55204e564d65204374726c" // "QEMU NVMe Ctrl"
)

// sh runs a script and returns what it printed.
func sh(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Fatalf("running %s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

func block(t *testing.T, path string) disk.Block {
	t.Helper()
	major, minor, err := disk.DeviceOf(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := disk.ReadBlock(os.DirFS("/"), major, minor)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVMDisksHaveTheirOwnIdentity: what a real disk tells of itself, by the way
// it is attached, and not the same for two.
func TestVMDisksHaveTheirOwnIdentity(t *testing.T) {
	sh(t, "modprobe scsi_debug add_host=2 dev_size_mb=8 && udevadm settle")
	t.Cleanup(func() { sh(t, "modprobe -r scsi_debug") })
	debug, err := filepath.Glob("/sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*:*/block/*")
	if err != nil || len(debug) != 2 {
		t.Fatalf("scsi_debug has the disks %q, %v", debug, err)
	}
	seen := map[disk.ID]string{}
	for _, c := range []struct{ path, want string }{
		{nvme1, "wwid:nvme.1b36-42455254482d4e564d452d31-" + controller + "-00000001"},
		{nvme2, "wwid:nvme.1b36-42455254482d4e564d452d32-" + controller + "-00000001"},
		{scsi1, "wwid:naa.5000c500a1b2c3d4"},
		{virtio1, "serial::BERTH-VIRTIO-1"},
		{"/dev/" + filepath.Base(debug[0]), "wwid:naa."},
		{"/dev/" + filepath.Base(debug[1]), "wwid:naa."},
	} {
		b := block(t, c.path)
		if got := b.ID(); !strings.HasPrefix(string(got), c.want) {
			t.Errorf("%s (%s): identity %q, want %q", c.path, b.Name, got, c.want)
		}
		if other := seen[b.ID()]; other != "" {
			t.Errorf("%s and %s have one identity, %s", other, c.path, b.ID())
		}
		seen[b.ID()] = c.path
		if b.ReadOnly || b.Partition || len(b.Holders)+len(b.Partitions) > 0 || b.SizeBytes == 0 {
			t.Errorf("%s: %+v", c.path, b)
		}
	}
}

// TestVMPartitions: a partition is known by its own GUID, which older kernels do
// not tell, and never by what its disk is known by.
func TestVMPartitions(t *testing.T) {
	sh(t, "sgdisk --clear --new=1:0:+16M --new=2:0:+16M "+nvme1+" && udevadm settle")
	t.Cleanup(func() { sh(t, "sgdisk --zap-all "+nvme1+" && udevadm settle") })
	whole := block(t, nvme1)
	if want := []string{whole.Name + "p1", whole.Name + "p2"}; strings.Join(whole.Partitions, " ") != strings.Join(want, " ") {
		t.Errorf("partitions %q, want %q", whole.Partitions, want)
	}
	for _, name := range whole.Partitions {
		b := block(t, "/dev/"+name)
		guid := disk.ID("partuuid:" + sh(t, "lsblk -no PARTUUID /dev/"+name))
		if id := b.ID(); !b.Partition || b.SizeBytes != 16<<20 || id != "" && id != guid {
			t.Errorf("%s: %+v with identity %q, want %q or none", name, b, id, guid)
		}
	}
}

// TestVMStackedDevices: LVM, md and device-mapper are known by their own UUIDs,
// and what they stand on shows them as holders.
func TestVMStackedDevices(t *testing.T) {
	sh(t, "vgcreate -q berthvg "+nvme1+" && lvcreate -q -y -n one -L 16M berthvg && lvcreate -q -y -n two -L 16M berthvg")
	t.Cleanup(func() { sh(t, "vgremove -q -f berthvg && pvremove -q "+nvme1) })
	sh(t, "mdadm --create --run --metadata=1.2 --level=1 --raid-devices=2 /dev/md/berth "+nvme2+" "+nvme3+" && udevadm settle")
	t.Cleanup(func() { sh(t, "mdadm --stop /dev/md/berth && mdadm --zero-superblock "+nvme2+" "+nvme3) })
	sh(t, "dmsetup create berthdm --uuid BERTH-TEST --table '0 32768 linear "+scsi1+" 0'")
	t.Cleanup(func() { sh(t, "dmsetup remove berthdm") })
	lv := func(name string) string {
		return "dm:LVM-" + strings.ReplaceAll(sh(t, "vgs --noheadings -o vg_uuid berthvg")+sh(t, "lvs --noheadings -o lv_uuid berthvg/"+name), "-", "")
	}
	array := sh(t, "mdadm --detail --export /dev/md/berth | sed -n s/^MD_UUID=//p")
	for _, c := range []struct {
		path, want string
		below      []string
	}{
		{"/dev/berthvg/one", lv("one"), []string{nvme1}},
		{"/dev/berthvg/two", lv("two"), []string{nvme1}},
		{"/dev/md/berth", "md:" + array, []string{nvme2, nvme3}},
		{"/dev/mapper/berthdm", "dm:BERTH-TEST", []string{scsi1}},
	} {
		b := block(t, c.path)
		if plain(b.ID()) != plain(disk.ID(c.want)) {
			t.Errorf("%s: identity %q, want %q", c.path, b.ID(), c.want)
		}
		for _, path := range c.below {
			if below := block(t, path); !strings.Contains(strings.Join(below.Holders, " ")+" ", b.Name+" ") {
				t.Errorf("%s: holders %q, want %s among them", path, below.Holders, b.Name)
			}
		}
	}
}

// plain leaves out how a UUID is cut into groups: mdadm has colons, the kernel
// dashes.
func plain(id disk.ID) string {
	kind, value, _ := strings.Cut(string(id), ":")
	if kind != "md" {
		return string(id)
	}
	return "md:" + strings.NewReplacer(":", "", "-", "").Replace(value)
}
