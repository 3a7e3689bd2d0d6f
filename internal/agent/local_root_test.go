//go:build root

package agent

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/host/hosttest"
	"github.com/berth-storage/berth/internal/volume"
)

// scanOne returns the only entry of a class's directory and its disk.
func scanOne(t *testing.T, class config.Class) (entry, *volume.Disk, string) {
	t.Helper()
	entries, errs, err := localMachine{}.Scan([]config.Class{class})
	if err != nil || len(errs) != 0 || len(entries) != 1 {
		t.Fatalf("scanning gave %v, %v, %v", entries, errs, err)
	}
	d, problem, err := localMachine{}.Inspect(class, entries[0])
	if err != nil {
		t.Fatal(err)
	}
	return entries[0], d, problem
}

// mountClass returns a class whose directory has one filesystem mounted in it.
func mountClass(t *testing.T, kind, device string) (config.Class, string) {
	t.Helper()
	dir := t.TempDir()
	at := filepath.Join(dir, "disk 1")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	hosttest.Mount(t, device, at, kind)
	class := testClass
	class.MountDir, class.HostDir = dir, "/as/the/node/sees/it"
	return class, at
}

func deviceClass(t *testing.T, device string) config.Class {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(device, filepath.Join(dir, "dev")); err != nil {
		t.Fatal(err)
	}
	class := testClass
	class.MountDir, class.HostDir, class.VolumeMode = dir, dir, config.Block
	return class
}

const fsBytes = 400 << 20 // xfs refuses less than 300 MB

// TestRootFilesystem: identity, capacity, emptiness and the wipe of each
// filesystem, with a name that has a space.
func TestRootFilesystem(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			class, at := mountClass(t, kind, hosttest.Format(t, kind, hosttest.NewLoop(t, fsBytes)))
			e, d, _ := scanOne(t, class)
			if !strings.HasPrefix(string(d.Identity), "fs:") || d.Identity.Weak() || d.Path != "/as/the/node/sees/it/disk 1" || d.Refused != "" {
				t.Errorf("inspecting gave %+v", d)
			}
			if d.CapacityBytes < fsBytes/2 || d.CapacityBytes > fsBytes || d.CapacityBytes%(1<<20) != 0 {
				t.Errorf("capacity is %d", d.CapacityBytes)
			}
			if empty, err := (localMachine{}).Empty(class, e, d.Identity); !empty || err != nil {
				t.Errorf("a new filesystem is not empty: %v", err)
			}
			if err := os.WriteFile(filepath.Join(at, "secret"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(at, 0o777); err != nil {
				t.Fatal(err)
			}
			if empty, err := (localMachine{}).Empty(class, e, d.Identity); empty || err != nil {
				t.Errorf("a filesystem with a file is empty, %v", err)
			}

			job := wipeJob{Entry: e, Identity: "fs:another:/", Root: d.Root}
			if _, err := (localMachine{}).Wipe(t.Context(), class, job); err == nil || !strings.Contains(err.Error(), "nothing was written") {
				t.Errorf("wiping another identity gave %v", err)
			}
			if _, err := os.Stat(filepath.Join(at, "secret")); err != nil {
				t.Fatal("the wipe of another identity removed a file")
			}
			job.Identity = d.Identity
			r, err := localMachine{}.Wipe(t.Context(), class, job)
			if err != nil || r.Entries != 1 {
				t.Errorf("the wipe gave %+v, %v", r, err)
			}
			if st, err := os.Stat(at); err != nil || st.Mode().Perm() != os.FileMode(d.Root.Mode).Perm() {
				t.Errorf("the root's mode is %v, %v", st.Mode(), err)
			}
		})
	}
}

// TestRootMountedOver is guarantee 1 for directories: a filesystem that was
// mounted over the inspected one in the meantime is not wiped.
func TestRootMountedOver(t *testing.T) {
	class, at := mountClass(t, "ext4", hosttest.Format(t, "ext4", hosttest.NewLoop(t, 64<<20)))
	e, d, _ := scanOne(t, class)
	hosttest.Mount(t, hosttest.Format(t, "ext4", hosttest.NewLoop(t, 64<<20)), at, "ext4")
	if err := os.WriteFile(filepath.Join(at, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (localMachine{}).Wipe(t.Context(), class, wipeJob{Entry: e, Identity: d.Identity}); err == nil {
		t.Error("another filesystem was wiped")
	}
	if _, err := os.Stat(filepath.Join(at, "precious")); err != nil {
		t.Error(err)
	}
	if _, again, _ := scanOne(t, class); again.Identity == d.Identity {
		t.Error("two filesystems have one identity")
	}
}

// TestRootReadOnlyMount: it is refused, unless its class says readOnly.
func TestRootReadOnlyMount(t *testing.T) {
	class, at := mountClass(t, "ext4", hosttest.Format(t, "ext4", hosttest.NewLoop(t, 64<<20)))
	if err := unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, d, _ := scanOne(t, class); !strings.Contains(d.Refused, "read-only") {
		t.Errorf("it is not refused: %+v", d)
	}
	class.ReadOnly = true
	if _, d, _ := scanOne(t, class); d.Refused != "" || !d.Keep {
		t.Errorf("it is refused, or not kept: %+v", d)
	}
}

// TestRootDevice: a device's identity, its wipe, and the proofs before it.
func TestRootDevice(t *testing.T) {
	device := hosttest.NewLoop(t, 64<<20)
	class := deviceClass(t, device)
	e, d, _ := scanOne(t, class)
	if !d.Device || d.Refused != "" || d.CapacityBytes != 64<<20 || !strings.HasPrefix(string(d.Identity), "loop:") {
		t.Fatalf("inspecting gave %+v", d)
	}
	mark := bytes.Repeat([]byte("secret"), 1000)
	writeAt := func(off int64) {
		t.Helper()
		f, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(mark, off); err != nil {
			t.Fatal(err)
		}
	}
	writeAt(0)
	writeAt(40 << 20)
	marked := func() bool {
		t.Helper()
		data, err := os.ReadFile(device)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(data, []byte("secret"))
	}
	job := wipeJob{Entry: e, Identity: "wwid:another", Reached: func(int64) error { return nil }}
	if _, err := (localMachine{}).Wipe(t.Context(), class, job); err == nil || !strings.Contains(err.Error(), "nothing was written") || !marked() {
		t.Errorf("wiping another identity gave %v", err)
	}
	job.Identity = d.Identity
	if r, err := (localMachine{}).Wipe(t.Context(), class, job); err != nil || r.Bytes == 0 || marked() {
		t.Errorf("the wipe gave %+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (localMachine{}).Wipe(ctx, class, job); err == nil {
		t.Error("a cancelled wipe says that it is done")
	}
}

// TestRootDeviceInUse: a device that is mounted elsewhere is judged InUse, and
// cannot be wiped even if the judgement is old.
func TestRootDeviceInUse(t *testing.T) {
	device := hosttest.Format(t, "ext4", hosttest.NewLoop(t, 64<<20))
	class := deviceClass(t, device)
	e, d, _ := scanOne(t, class)
	at := t.TempDir()
	hosttest.Mount(t, device, at, "ext4")
	if _, now, _ := scanOne(t, class); !strings.Contains(now.Refused, "InUse") || !strings.Contains(now.Refused, at) {
		t.Errorf("a mounted device is judged %+v", now)
	}
	_, err := localMachine{}.Wipe(t.Context(), class, wipeJob{Entry: e, Identity: d.Identity, Reached: func(int64) error { return nil }})
	if err == nil || !strings.Contains(err.Error(), host.ErrBusy.Error()) {
		t.Errorf("wiping a mounted device gave %v", err)
	}
}

// TestRootTenantsPartitions: a tenant that made partitions on its raw device
// leaves none behind, and the device is published again.
func TestRootTenantsPartitions(t *testing.T) {
	device := hosttest.NewLoop(t, 64<<20)
	class := deviceClass(t, device)
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	info.Flags |= unix.LO_FLAGS_PARTSCAN
	if err := unix.IoctlLoopSetStatus64(int(f.Fd()), info); err != nil {
		t.Fatal(err)
	}
	addPartition(t, f)
	e, d, _ := scanOne(t, class)
	if !strings.Contains(d.Refused, "partitions") {
		t.Fatalf("a device with a partition is judged %+v", d)
	}
	job := wipeJob{Entry: e, Identity: d.Identity, Reached: func(int64) error { return nil }}
	if _, err := (localMachine{}).Wipe(t.Context(), class, job); err != nil {
		t.Fatal(err)
	}
	if after, d, _ := scanOne(t, class); d.Refused != "" || after == e {
		t.Errorf("after the wipe it is judged %+v, and the entry is unchanged: %v", d, after == e)
	}
}

// addPartition tells the kernel of a partition, as it learns of one when it
// reads a table; not every kernel can read tables. See blkpg.h of Linux.
func addPartition(t *testing.T, dev *os.File) {
	t.Helper()
	partition := struct {
		start, length int64 // bytes
		number        int32
		names         [2][64]byte
	}{start: 1 << 20, length: 1 << 20, number: 1}
	arg := struct {
		op, flags, size int32
		data            unsafe.Pointer
	}{op: unix.BLKPG_ADD_PARTITION, size: int32(unsafe.Sizeof(partition)), data: unsafe.Pointer(&partition)}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dev.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg))); errno != 0 {
		t.Fatalf("adding a partition: %v", errno)
	}
}

// TestRootBindMount: each directory of a filesystem is a volume of its own; one
// mounted twice is the same volume.
func TestRootBindMount(t *testing.T) {
	fs := hosttest.NewFS(t, "ext4", 64<<20)
	ids := map[disk.ID]bool{}
	for _, sub := range []string{"a", "b"} {
		if err := os.MkdirAll(filepath.Join(fs, sub), 0o755); err != nil {
			t.Fatal(err)
		}
		class := testClass
		class.MountDir = t.TempDir()
		at := filepath.Join(class.MountDir, "v")
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(filepath.Join(fs, sub), at, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(at, 0); err != nil {
				t.Error(err)
			}
		})
		_, d, _ := scanOne(t, class)
		ids[d.Identity] = true
	}
	if len(ids) != 2 {
		t.Errorf("identities are %v", ids)
	}
}
