//go:build vm

package wipe_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/wipe"
)

// The machine's disks, see test/vm/cmd/vmexec.
const (
	realNVMe   = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_BERTH-NVME-4"
	realSCSI   = "/dev/disk/by-id/scsi-35000c500a1b2c3d4"
	realVirtio = "/dev/disk/by-id/virtio-BERTH-VIRTIO-1"
)

func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("running %s %v: %v\n%s", name, args, err, out)
	}
}

// resolved is the device that a link leads to.
func resolved(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// soil fills a device with a tenant's bytes and returns its size.
func soil(t *testing.T, path string) int64 {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var size int64
	for piece := bytes.Repeat([]byte("tenant--"), 1<<17); ; {
		n, err := f.Write(piece)
		size += int64(n)
		if errors.Is(err, unix.ENOSPC) || err == nil && n < len(piece) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	return size
}

// soiled counts the tenant's bytes that the device still has.
func soiled(t *testing.T, path string) int {
	t.Helper()
	tool(t, "blockdev", "--flushbufs", path)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return len(data) - bytes.Count(data, []byte{0})
}

func wipeOf(t *testing.T, path string, o wipe.BlockOptions) (wipe.Result, error) {
	t.Helper()
	b, err := host.OpenBlock(path, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	return wipe.Block(t.Context(), b, o)
}

// TestVMWipeOfRealDisks: each method on each kind of disk, the whole of it read
// back by another way. An NVMe disk is not written over where it can zero by
// itself, and a discard that promises nothing is not relied upon.
func TestVMWipeOfRealDisks(t *testing.T) {
	for _, c := range []struct {
		path   string
		method wipe.Method
		is     wipe.Method
	}{
		{realNVMe, wipe.MethodDiscard, wipe.MethodDiscard},
		{realNVMe, wipe.MethodZero, wipe.MethodZero},
		{realNVMe, wipe.MethodShred, wipe.MethodShred},
		{realNVMe, wipe.MethodFormat, wipe.MethodFormat},
		{realSCSI, wipe.MethodDiscard, wipe.MethodDiscard},
		{realVirtio, wipe.MethodDiscard, wipe.MethodDiscard},
	} {
		t.Run(filepath.Base(c.path)+" "+string(c.method), func(t *testing.T) {
			path := resolved(t, c.path)
			size := soil(t, path)
			r, err := wipeOf(t, path, wipe.BlockOptions{Method: c.method, Full: true})
			if err != nil {
				t.Fatal(err)
			}
			if r.Method != c.is || r.Verified != size {
				t.Errorf("%+v, want method %s and %d bytes verified", r, c.is, size)
			}
			if n := soiled(t, path); n > 0 {
				t.Errorf("%d bytes are left", n)
			}
		})
	}
}

// TestVMFormatRefused: what is no whole NVMe namespace is not written to at all.
func TestVMFormatRefused(t *testing.T) {
	disk := resolved(t, realNVMe)
	soil(t, disk)
	tool(t, "sgdisk", "--clear", "--new=1:0:+4M", disk)
	defer func() {
		if _, err := wipeOf(t, disk, wipe.BlockOptions{Method: wipe.MethodFormat}); err != nil {
			t.Error(err)
		}
	}()
	tool(t, "udevadm", "settle")
	for path, why := range map[string]string{disk + "p1": "is a partition", resolved(t, realSCSI): "no NVMe namespace", resolved(t, realVirtio): "no NVMe namespace"} {
		before := soil(t, path)
		r, err := wipeOf(t, path, wipe.BlockOptions{Method: wipe.MethodFormat})
		if !errors.Is(err, host.ErrNoFormat) || !strings.Contains(err.Error(), why) || r.Bytes != 0 || r.Verified != 0 {
			t.Errorf("%s: %+v, %v, want ErrNoFormat as it %s", path, r, err, why)
		}
		if n := soiled(t, path); int64(n) != before {
			t.Errorf("%s: %d bytes are left of %d", path, n, before)
		}
	}
}

// mapped makes a mapping of device-mapper with these lines of its table.
func mapped(t *testing.T, tables string) string {
	t.Helper()
	tool(t, "modprobe", "-a", "dm_mod", "dm_flakey")
	cmd := exec.Command("dmsetup", "create", "berth-faulty")
	cmd.Stdin = bytes.NewBufferString(tables)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("making a mapping: %v\n%s", err, out)
	}
	t.Cleanup(func() { tool(t, "dmsetup", "remove", "--retry", "berth-faulty") })
	return resolved(t, "/dev/mapper/berth-faulty")
}

// TestVMWipeOfFaultyDisks: a disk that fails anywhere, or that says it has
// written and has not, is never taken for wiped.
func TestVMWipeOfFaultyDisks(t *testing.T) {
	disk := resolved(t, realNVMe)
	sectors := soil(t, disk) / 512
	for _, c := range []struct {
		name, table string
		want        error
	}{
		{"a bad sector at the end", fmt.Sprintf("0 %d linear %s 0\n%d 8 error\n", sectors-8, disk, sectors-8), unix.EIO},
		{"a bad sector in the middle", fmt.Sprintf("0 %d linear %s 0\n%[1]d 8 error\n%[3]d %[4]d linear %[2]s %[3]d\n", sectors/2, disk, sectors/2+8, sectors/2-8), unix.EIO},
		{"writes fail", fmt.Sprintf("0 %d flakey %s 0 0 86400 1 error_writes\n", sectors, disk), unix.EIO},
		{"writes are dropped", fmt.Sprintf("0 %d flakey %s 0 0 86400 1 drop_writes\n", sectors, disk), wipe.ErrNotZero},
	} {
		for _, method := range []wipe.Method{wipe.MethodDiscard, wipe.MethodZero, wipe.MethodShred} {
			t.Run(c.name+" "+string(method), func(t *testing.T) {
				soil(t, disk)
				path := mapped(t, c.table)
				var reached int64
				r, err := wipeOf(t, path, wipe.BlockOptions{Method: method, Checkpoint: func(off int64) error { reached = off; return nil }})
				if !errors.Is(err, c.want) {
					t.Errorf("%+v, %v, want %v", r, err, c.want)
				}
				if r.Verified >= sectors*512 {
					t.Errorf("claims to have verified %d bytes of %d", r.Verified, sectors*512)
				}
				if c.want == unix.EIO && reached >= sectors*512 {
					t.Errorf("recorded that %d bytes are done", reached)
				}
			})
		}
	}
}
