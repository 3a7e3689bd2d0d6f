//go:build vm

package inventory_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/inventory"
)

// stopped makes an array and stops it, so that only the disks' bytes tell of it.
func stopped(metadata string) string {
	return "mdadm --create --run --metadata=" + metadata + " --level=1 --raid-devices=2 /dev/md/a $D1 $D2; udevadm settle; mdadm --stop /dev/md/a"
}

// TestVMVerdicts: a device that something else uses is seen to be used,
// whichever way it is, on a kernel that has them all.
func TestVMVerdicts(t *testing.T) {
	const nvme = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_BERTH-NVME-"
	verdict := func(path string) inventory.Judgement {
		t.Helper()
		sys := os.DirFS("/")
		major, minor, err := disk.DeviceOf(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := disk.ReadBlock(sys, major, minor)
		if err != nil {
			t.Fatal(err)
		}
		mounts, err := disk.ReadMounts(sys)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		member, err := disk.ReadMember(f, b.SizeBytes)
		if err != nil {
			t.Fatal(err)
		}
		return inventory.Classify(b, inventory.Use{Mounts: mounts.OfDevice(major, minor), Swapped: b.Swapped(sys), Member: member})
	}
	for _, c := range []struct {
		name, make, undo string
		want             map[string]inventory.Verdict
	}{
		{"nothing on it", "true", "true", map[string]inventory.Verdict{nvme + "1": inventory.Free}},
		{"partitions", "sgdisk --clear --new=1:0:+16M $D1", "sgdisk --zap-all $D1",
			map[string]inventory.Verdict{nvme + "1": inventory.InUse, nvme + "1-part1": inventory.Free}},
		{"a mounted partition", "sgdisk --clear --new=1:0:+16M $D1; udevadm settle; mkfs.ext4 -q $D1-part1; mount $D1-part1 /mnt", "umount /mnt; sgdisk --zap-all $D1",
			map[string]inventory.Verdict{nvme + "1": inventory.InUse, nvme + "1-part1": inventory.InUse}},
		{"a volume group", "vgcreate -q g $D1 $D2; lvcreate -q -y -n one -L 16M g $D1", "vgremove -q -f g; pvremove -q $D1 $D2",
			map[string]inventory.Verdict{nvme + "1": inventory.InUse, "/dev/g/one": inventory.Free}},
		{"a mounted logical volume", "vgcreate -q g $D1; lvcreate -q -y -n one -L 16M g; mkfs.ext4 -q /dev/g/one; mount /dev/g/one /mnt", "umount /mnt; vgremove -q -f g; pvremove -q $D1",
			map[string]inventory.Verdict{nvme + "1": inventory.InUse, "/dev/g/one": inventory.InUse}},
		{"a thin pool", "vgcreate -q g $D1; lvcreate -q -y -L 16M -T g/pool -V 64M -n thin", "vgremove -q -f g; pvremove -q $D1",
			map[string]inventory.Verdict{nvme + "1": inventory.InUse, "/dev/mapper/g-pool_tdata": inventory.InUse, "/dev/g/thin": inventory.Free}},
		{"an array", "mdadm --create --run --metadata=1.2 --level=1 --raid-devices=2 /dev/md/a $D1 $D2", "mdadm --stop /dev/md/a; mdadm --zero-superblock $D1 $D2",
			map[string]inventory.Verdict{nvme + "1": inventory.InUse, nvme + "2": inventory.InUse, "/dev/md/a": inventory.Free}},
		{"swap", "mkswap $D1; swapon $D1", "swapoff $D1; wipefs -qa $D1", map[string]inventory.Verdict{nvme + "1": inventory.InUse}},
		{"a mounted disk", "mkfs.ext4 -q $D2; mount $D2 /mnt", "umount /mnt; wipefs -qa $D2", map[string]inventory.Verdict{nvme + "2": inventory.InUse}},
		{"a volume group that is not active", "vgcreate -q g $D1; lvcreate -q -y -n one -L 16M g; vgchange -q -an g", "vgremove -q -f g; pvremove -q $D1",
			map[string]inventory.Verdict{nvme + "1": inventory.Foreign}},
		{"a stopped array, 1.2", stopped("1.2"), "mdadm --zero-superblock $D1 $D2", map[string]inventory.Verdict{nvme + "1": inventory.Foreign, nvme + "2": inventory.Foreign}},
		{"a stopped array, 1.0", stopped("1.0"), "mdadm --zero-superblock $D1 $D2", map[string]inventory.Verdict{nvme + "1": inventory.Foreign}},
		{"a stopped array, 0.90", stopped("0.90"), "mdadm --zero-superblock $D1 $D2", map[string]inventory.Verdict{nvme + "1": inventory.Foreign}},
		{"swap that is not on", "mkswap $D1", "wipefs -qa $D1", map[string]inventory.Verdict{nvme + "1": inventory.Foreign}},
		{"a filesystem that is not mounted", "mkfs.ext4 -q $D1", "wipefs -qa $D1", map[string]inventory.Verdict{nvme + "1": inventory.Free}},
		{"read-only", "blockdev --setro $D1", "blockdev --setrw $D1", map[string]inventory.Verdict{nvme + "1": inventory.Unknown}},
		{"a mapping", "dmsetup create m --table \"0 32768 linear $D1 0\"", "dmsetup remove m",
			map[string]inventory.Verdict{nvme + "1": inventory.InUse, "/dev/mapper/m": inventory.Free}},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := func(script string) {
				t.Helper()
				cmd := exec.Command("sh", "-ec", script+"; udevadm settle")
				cmd.Env = append(os.Environ(), "D1="+nvme+"1", "D2="+nvme+"2")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("running %s: %v\n%s", script, err, out)
				}
			}
			t.Cleanup(func() { run(c.undo) })
			run(c.make)
			for path, want := range c.want {
				if got := verdict(path); got.Verdict != want {
					t.Errorf("%s: %s (%s), want %s", path, got.Verdict, got.Evidence, want)
				}
			}
		})
	}
}
