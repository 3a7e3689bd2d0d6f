package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReport reads what LVM 2.03.16 has printed.
func TestReport(t *testing.T) {
	data, err := os.ReadFile("testdata/lvm-fullreport.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseReport(data)
	want := VolumeGroupReport{
		UUID: "N0Ljy8-5MAa-KP22-p5yh-AuWV-ZgpJ-xEGldc", ExtentBytes: 4 << 20,
		Physical: []PhysicalVolume{
			{Name: "/dev/loop0", UUID: "FR8WVQ-5XoI-1k9w-PgkA-Vo3L-c4pi-8S5td1", Extents: 63, Free: 36, Allocatable: true},
			{Name: "/dev/loop1", UUID: "naszKp-ELRJ-eR8b-f7Lo-ZIYc-0jY4-vM3SQt", Extents: 63, Free: 58},
		},
		Logical: []LogicalVolume{
			{Name: "s1", UUID: "dOfHSb-VcDP-667V-NQ6x-fdQq-R0sP-fYFZce", Bytes: 32 << 20, Tags: []string{"berth.storage", "berth.storage/mode=Block"},
				Ranges: []string{"/dev/loop0:21-22", "/dev/loop1:1-2", "/dev/loop0:25-26", "/dev/loop1:3-4"}},
			{Name: "t1", UUID: "u6GGqs-wO8a-t6a3-anaz-c6hv-TvWz-dM3QAb", Bytes: 16 << 20, Pool: "thin0"},
			{Name: "thin0", UUID: "I5kvAW-Q7b3-Cctt-QUSS-8y3t-A99p-J1qxsP", Bytes: 80 << 20, Ranges: []string{"thin0_tdata:0-19"}, ThinPool: &ThinPool{Zeroes: true, Active: true, MetadataUsed: 10.94}},
			{Name: "thin1", UUID: "K5kvAW-Q7b3-Cctt-QUSS-8y3t-A99p-J1qxsP", Bytes: 80 << 20, ThinPool: &ThinPool{}},
		},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v (%v)\nwant %+v", got, err, want)
	}
	for old, damaged := range map[string]string{`"4194304"`: `"0"`, `"33554432"`: `""`, `"-wn-a-----"`: `"-"`, `"10.94"`: `"x"`, `"63"`: `"-1"`, `"vg":`: `"gv":`, `]`: ``} {
		if r, err := parseReport([]byte(strings.Replace(string(data), old, damaged, 1))); err == nil {
			t.Errorf("with %s for %s it is read as %+v", damaged, old, r)
		}
	}
}

// TestLVMError has what LVM 2.03.16 says.
func TestLVMError(t *testing.T) {
	for said, want := range map[string]error{
		"  Volume group \"vg1\" not found\n  Cannot process volume group vg1":                        ErrNoVolumeGroup,
		"  Volume group \"vg0\" has insufficient free space (122 extents): 1000 required.":           ErrNoExtents,
		"  Insufficient free space: 12 extents needed, but only 0 available":                         ErrNoExtents,
		"  Insufficient suitable allocatable extents for logical volume a: 3 more required":          ErrNoExtents,
		"  Logical Volume \"s1\" already exists in volume group \"vg0\"":                             ErrExists,
		"  Logical volume vg0/s1 in use.":                                                            ErrBusy,
		"  Logical volume vg0/l1 contains a filesystem in use.":                                      ErrBusy,
		"  Can't process LV vg0/thin0: thin-pool target support missing from kernel?":                ErrNoThin,
		"  /dev/mapper/control: open failed: No such device\n  Failure to communicate with kernel":   ErrNoMapper,
		"  Cannot change VG vg0 while PVs are missing.\n  See vgreduce --removemissing and vgextend": ErrPartial,
		"  Failed to find logical volume \"vg0/nope\"":                                               ErrNoVolume,
		"  Number of stripes (3) must not exceed number of physical volumes (2)":                     nil,
	} {
		if got := lvmError(said); got != want {
			t.Errorf("%q means %v, not %v", said, got, want)
		}
	}
}

// tool is a volume group whose tool is a script.
func tool(t *testing.T, script string) *VolumeGroup {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lvm")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return &VolumeGroup{name: "vg0", tool: path}
}

// TestToolIsToldToEnd: a tool in the middle of a change is not killed.
func TestToolIsToldToEnd(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	if err := unix.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	// A shell that waits for something misses a signal that comes right before.
	g := tool(t, fmt.Sprintf("trap 'echo told >&2; exit 3' TERM\necho > %s; while :; do :; done", ready))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Remove(ctx, Which{Name: "a"}) }()
	if _, err := os.ReadFile(ready); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "told") {
		t.Errorf("error: %v", err)
	}
}

// TestToolFails: what a tool says is in the error, and what is known of it.
func TestToolFails(t *testing.T) {
	g := tool(t, `echo "LC_ALL is $LC_ALL" >&2; echo "  Logical volume vg0/a in use." >&2; exit 5`)
	err := g.Deactivate(t.Context(), Which{Name: "a"})
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "LC_ALL is C") || !strings.Contains(err.Error(), "lvchange") {
		t.Errorf("error: %v", err)
	}
	if err := tool(t, "exit 0").AddTag(t.Context(), Which{Name: "a"}, "x"); !errors.Is(err, ErrNoVolume) {
		t.Errorf("nothing was tagged: %v", err)
	}
	for _, name := range []string{"", "-a", "a/b", "a b", `a"`} {
		if _, err := OpenVolumeGroup(name); !errors.Is(err, ErrNoVolumeGroup) {
			t.Errorf("%q: %v", name, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := os.Stat("/usr/sbin/lvm"); err == nil {
		return // it is found there
	}
	if _, err := OpenVolumeGroup("vg0"); !errors.Is(err, ErrNoLVM) {
		t.Errorf("without tools: %v", err)
	}
}

// TestDeviceName: LVM doubles a "-" within a name.
func TestDeviceName(t *testing.T) {
	if got := (&VolumeGroup{name: "a-b"}).DeviceName("pvc-1"); got != "a--b-pvc--1" {
		t.Error(got)
	}
}
