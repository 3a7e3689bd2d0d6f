//go:build vm

package lvm_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/pool/lvm"
	"github.com/berth-storage/berth/internal/pool/pooltest"
)

const mib = 1 << 20

// config lets LVM's tools do without a udev daemon, and erase what they free.
const config = "activation{udev_sync=0 udev_rules=0} devices{issue_discards=1}"

func run(t *testing.T, args ...string) string {
	t.Helper()
	if strings.HasPrefix(args[0], "lv") || strings.HasPrefix(args[0], "vg") {
		args = append([]string{args[0], "--config", config}, args[1:]...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "LVM_SUPPRESS_FD_WARNINGS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// group makes a volume group of disks of these sizes in MiB, one of which LVM
// uses itself, with extents of 1 MiB. Where content is given, the disks are full
// of it.
func group(t *testing.T, name string, content byte, sizes ...int) (disks []string) {
	t.Helper()
	run(t, "modprobe", "-a", "loop", "dm-mod", "dm-thin-pool") // the machine has no daemon that does
	dir := t.TempDir()
	for i, size := range sizes {
		image := filepath.Join(dir, name+string(rune('a'+i)))
		err := os.WriteFile(image, nil, 0o600)
		if content == 0 {
			err = errors.Join(err, os.Truncate(image, int64(size)*mib)) // which takes no memory
		} else {
			err = errors.Join(err, os.WriteFile(image, bytes.Repeat([]byte{content}, size*mib), 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
		disk := run(t, "losetup", "--find", "--show", image)
		t.Cleanup(func() { run(t, "losetup", "--detach", disk) })
		disks = append(disks, disk)
	}
	run(t, append([]string{"vgcreate", "--quiet", "--yes", "--physicalextentsize", "1m", name}, disks...)...)
	t.Cleanup(func() { run(t, "vgremove", "--quiet", "--yes", "--force", name) })
	return disks
}

func open(t *testing.T, o lvm.Options) *lvm.Pool {
	t.Helper()
	p, err := lvm.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// parts gives each part of the suite the same volume group, emptied and erased.
func parts(t *testing.T, o lvm.Options) {
	pooltest.Run(t, func(t *testing.T) pooltest.Disk {
		t.Cleanup(func() {
			run(t, "lvremove", "--quiet", "--yes", "--select", "lv_tags=berth.storage", o.VolumeGroup)
		})
		return pooltest.Disk{Open: func(t *testing.T) pool.Pool { return open(t, o) }}
	})
}

// TestVMSuite has the suite run without a udev daemon, as in a container; the
// tests below have one.
func TestVMSuite(t *testing.T) {
	run(t, "udevadm", "control", "--stop-exec-queue")
	t.Cleanup(func() { run(t, "udevadm", "control", "--start-exec-queue") })
	t.Run("thick", thick)
	t.Run("thin", thin)
}

func thick(t *testing.T) {
	t.Parallel()
	group(t, "thick", 0, 155, 148)
	parts(t, lvm.Options{VolumeGroup: "thick"})
}

func thin(t *testing.T) {
	t.Parallel()
	group(t, "thin", 0, 320)
	run(t, "lvcreate", "--quiet", "--type", "thin-pool", "--size", "300m", "--poolmetadatasize", "4m", "--name", "pool", "thin")
	parts(t, lvm.Options{VolumeGroup: "thin", Thin: &lvm.Thin{Pool: "pool"}})
}

// TestVMUnfit: a volume group that cannot be a pool is refused, and why is said.
func TestVMUnfit(t *testing.T) {
	disks := group(t, "unfit", 0, 16, 16)
	run(t, "lvcreate", "--quiet", "--type", "thin-pool", "--size", "4m", "--poolmetadatasize", "2m", "--zero", "n", "--name", "dirty", "unfit", disks[0])
	refused := func(want string, o lvm.Options) {
		t.Helper()
		_, err := lvm.Open(t.Context(), o)
		if !errors.Is(err, pool.ErrUnfit) || !strings.Contains(err.Error(), want) {
			t.Errorf("error: %v; want %q", err, want)
		}
	}
	refused("vgcreate", lvm.Options{VolumeGroup: "none"})
	refused("vgextend", lvm.Options{VolumeGroup: "unfit", Stripes: 3})
	refused("no thin pool", lvm.Options{VolumeGroup: "unfit", Thin: &lvm.Thin{Pool: "none"}})
	refused("--zero y", lvm.Options{VolumeGroup: "unfit", Thin: &lvm.Thin{Pool: "dirty"}})
	// A disk goes while the pool is open: nothing can be changed then.
	p := open(t, lvm.Options{VolumeGroup: "unfit"})
	spec := pool.Spec{ID: "a", Bytes: mib, Mode: pool.Filesystem}
	if _, err := p.Carve(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	run(t, "wipefs", "--quiet", "--all", "--force", disks[1])
	refused("vgreduce", lvm.Options{VolumeGroup: "unfit"})
	spec.ID = "b"
	if _, err := p.Carve(t.Context(), spec); err == nil {
		t.Error("a volume was made in half a volume group")
	}
	if _, err := p.Open(t.Context(), "a"); err != nil {
		t.Errorf("the volume on the disk that is left: %v", err)
	}
	run(t, "vgreduce", "--quiet", "--yes", "--removemissing", "--force", "unfit")
}

// TestVMOthersBytes: in a striped pool on disks that are full of somebody's
// bytes, which its people use too, nobody sees them, and nothing is theirs that
// is the people's.
func TestVMOthersBytes(t *testing.T) {
	group(t, "used", 'x', 40, 30)
	run(t, "lvcreate", "--quiet", "--size", "8m", "--name", "people", "used")
	p := open(t, lvm.Options{VolumeGroup: "used", Stripes: 2})
	before, err := p.Room(t.Context())
	if err != nil || before.Free != before.Total || before.Largest != before.Free || before.Free != 58*mib {
		t.Errorf("the room is %+v (%v)", before, err)
	}
	for _, id := range []pool.ID{"raw", "fs"} {
		mode := map[pool.ID]pool.Mode{"raw": pool.Block, "fs": pool.Filesystem}[id]
		if _, err := p.Carve(t.Context(), pool.Spec{ID: id, Bytes: 3 * mib, Mode: mode}); err != nil {
			t.Fatal(err)
		}
		at, err := p.Open(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		v, err := p.Grow(t.Context(), id, 7*mib)
		if err != nil || v.Bytes != 8*mib {
			t.Errorf("grown to %+v (%v)", v, err)
		}
		data, err := os.ReadFile(at.Device)
		zero := map[pool.ID]int{"raw": 8 * mib, "fs": 4 * mib}[id]
		if err != nil || len(data) != 8*mib || len(bytes.Trim(data[:zero], "\x00")) > 0 {
			t.Errorf("%s has %d bytes, and somebody's among them (%v)", id, len(data), err)
		}
	}
	if got := run(t, "lvs", "--noheadings", "--segments", "-o", "stripes", "used/raw"); strings.Join(strings.Fields(got), " ") != "2 2" && got != "2" {
		t.Errorf("its stripes are %q", got)
	}
	all := pool.Spec{ID: "all", Bytes: 42 * mib, Mode: pool.Filesystem}
	if _, err := p.Carve(t.Context(), all); err != nil {
		t.Errorf("carving all that is free: %v", err)
	}
	for _, id := range []pool.ID{"raw", "fs", "all", "people"} {
		if err := errors.Join(p.Close(t.Context(), id), p.Remove(t.Context(), id)); err != nil {
			t.Error(err)
		}
	}
	if got, err := p.Room(t.Context()); err != nil || got != before {
		t.Errorf("the room was %+v and is %+v (%v)", before, got, err)
	}
	if got := run(t, "lvs", "--noheadings", "-o", "lv_name", "used"); got != "people" {
		t.Errorf("left is %q", got)
	}
	// What the people do is seen, though nobody says so.
	run(t, "lvremove", "--quiet", "--yes", "used/people")
	run(t, "lvcreate", "--quiet", "--type", "striped", "--stripes", "2", "--size", "20m", "--name", "people", "used")
	if got, err := p.Room(t.Context()); err != nil || got.Free != 38*mib {
		t.Errorf("the room is %+v (%v)", got, err)
	}
}

// killer stands for LVM's tool, and for the agent: it kills the n-th command that
// changes anything right after it is done, and does nothing from then on.
const killer = `#!/bin/sh
case $1 in fullreport) ;; *) echo >> $0.done ;; esac
[ "$(wc -l < $0.done)" -le "$(cat $0.dies)" ] || exit 137
/sbin/lvm "$@" || exit
[ "$1" = fullreport ] || [ "$(wc -l < $0.done)" -lt "$(cat $0.dies)" ] || kill -9 $$
`

// TestVMKilled: the agent is killed with the tool after each change that it
// makes. What the next one sees is what was there or what was to be.
func TestVMKilled(t *testing.T) {
	group(t, "killed", 0, 40)
	bin, o := t.TempDir(), lvm.Options{VolumeGroup: "killed"}
	mortal := func(dies string) *lvm.Pool {
		t.Helper()
		if err := errors.Join(os.WriteFile(bin+"/lvm", []byte(killer), 0o700), os.WriteFile(bin+"/lvm.done", nil, 0o600), os.WriteFile(bin+"/lvm.dies", []byte(dies), 0o600)); err != nil {
			t.Fatal(err)
		}
		path := os.Getenv("PATH")
		t.Setenv("PATH", bin+":"+path)
		p := open(t, o)
		t.Setenv("PATH", path)
		return p
	}
	want := pool.Volume{ID: "a", Bytes: 4 * mib, Mode: pool.Block}
	for _, dies := range []string{"1", "2"} {
		if _, err := mortal(dies).Carve(t.Context(), pool.Spec(want)); err == nil {
			t.Errorf("killed after change %s of carving, there is no error", dies)
		}
		p := open(t, o)
		all, err := p.Volumes(t.Context())
		if err != nil || len(all) > 1 || len(all) == 1 && all[0] != want || dies == "2" && len(all) == 0 {
			t.Errorf("killed after change %s of carving, there are %v (%v)", dies, all, err)
		}
	}
	for _, dies := range []string{"1", "2", "3"} {
		_, _ = mortal(dies).Grow(t.Context(), "a", 2*want.Bytes)
		p := open(t, o)
		all, err := p.Volumes(t.Context())
		if err != nil || len(all) != 1 || all[0].Bytes != want.Bytes && dies != "3" || all[0].Bytes != 2*want.Bytes && dies == "3" {
			t.Errorf("killed after change %s of growing, there are %v (%v)", dies, all, err)
		}
		if room, err := p.Room(t.Context()); err != nil || room.Total-room.Free != all[0].Bytes {
			t.Errorf("killed after change %s of growing, the room is %+v (%v)", dies, room, err)
		}
	}
}
