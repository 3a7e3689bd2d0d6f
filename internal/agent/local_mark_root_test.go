//go:build root

package agent

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/host/hosttest"
	"github.com/berth-storage/berth/internal/volume"
)

// TestRootMark: a mark on each filesystem is there after a remount, is no
// content, and goes with a verified wipe and not before.
func TestRootMark(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			device := hosttest.Format(t, kind, hosttest.NewLoop(t, fsBytes))
			class, at := mountClass(t, kind, device)
			e, d, _ := scanOne(t, class)
			if d.Mark != nil || !d.Markable {
				t.Fatalf("a new filesystem: %+v", d)
			}
			m := volume.Mark{ID: "m1", Node: "node-1", PV: "pv1", Claim: &volume.Claim{Namespace: "ns", Name: "a", UID: "u"}}
			text, err := m.Text()
			if err != nil {
				t.Fatal(err)
			}
			if err := (localMachine{}).Mark(class, e, "fs:another:/", text, true); err == nil {
				t.Error("another identity was marked")
			}
			if _, d, _ := scanOne(t, class); d.Mark != nil {
				t.Fatalf("another identity's mark is on it: %+v", d.Mark)
			}
			if err := (localMachine{}).Mark(class, e, d.Identity, text, true); err != nil {
				t.Fatal(err)
			}
			if empty, err := (localMachine{}).Empty(class, e, d.Identity); !empty || err != nil {
				t.Errorf("a mark is taken for content, %v", err)
			}
			if err := os.WriteFile(filepath.Join(at, "secret"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := unix.Unmount(at, 0); err != nil {
				t.Fatal(err)
			}
			hosttest.Mount(t, device, at, kind)
			e, d, _ = scanOne(t, class)
			if d.Mark == nil || !reflect.DeepEqual(*d.Mark, m) {
				t.Fatalf("after a remount it bears %+v", d.Mark)
			}

			// What another node makes of it.
			in := volume.Input{Disk: d, Looked: true, Node: "node-2", Token: "m2"}
			if decision := volume.Decide(in); decision.Verb != volume.Examine {
				t.Fatalf("another node decides %+v", decision)
			}
			empty, err := localMachine{}.Empty(class, e, d.Identity)
			if err != nil {
				t.Fatal(err)
			}
			in.Empty = &empty
			if r := volume.Decide(in).Record; r == nil || r.State != volume.Quarantined {
				t.Errorf("another node makes it %+v", r)
			}

			if _, err := (localMachine{}).Wipe(t.Context(), class, wipeJob{Entry: e, Identity: d.Identity, Root: d.Root}); err != nil {
				t.Fatal(err)
			}
			if _, d, _ = scanOne(t, class); d.Mark != nil {
				t.Errorf("after its wipe it bears %+v", d.Mark)
			}
		})
	}
}

// TestRootMarkStays: a wipe that cannot be done leaves the mark.
func TestRootMarkStays(t *testing.T) {
	class, at := mountClass(t, "ext4", hosttest.Format(t, "ext4", hosttest.NewLoop(t, 64<<20)))
	e, d, _ := scanOne(t, class)
	if err := (localMachine{}).Mark(class, e, d.Identity, []byte("not one of Berth's"), true); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(at, "inside")
	if err := os.Mkdir(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	hosttest.Mount(t, hosttest.Format(t, "ext4", hosttest.NewLoop(t, 64<<20)), inside, "ext4")
	if _, err := (localMachine{}).Wipe(t.Context(), class, wipeJob{Entry: e, Identity: d.Identity, Root: d.Root}); !errors.Is(err, host.ErrNestedMount) {
		t.Fatalf("the wipe gave %v", err)
	}
	if _, d, _ = scanOne(t, class); d.Mark == nil || d.Mark.Unread == "" {
		t.Errorf("it bears %+v", d.Mark)
	}
}

// TestRootNoMark: where a directory takes no mark that is said so, and a
// read-only mount and the volumes of a class that only lends data get none.
func TestRootNoMark(t *testing.T) {
	class, at := mountClass(t, "ext4", hosttest.Format(t, "ext4", hosttest.NewLoop(t, 64<<20)))
	proc := class
	proc.MountDir = "/"
	if err := (localMachine{}).Mark(proc, entry{Name: "proc", Mount: mountAt(t, "/proc")}, disk.WeakID("proc", proc.Name, "proc"), []byte("x"), true); !errors.Is(err, host.ErrNoXattr) {
		t.Errorf("marking /proc gave %v", err)
	}
	lends := class
	lends.ReadOnly = true
	if _, d, _ := scanOne(t, lends); d.Markable {
		t.Error("a class with readOnly is to be marked")
	}
	if err := unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	e, d, _ := scanOne(t, class)
	if d.Markable {
		t.Error("a read-only mount is to be marked")
	}
	if err := (localMachine{}).Mark(class, e, d.Identity, []byte("x"), true); !errors.Is(err, host.ErrNoXattr) {
		t.Errorf("marking a read-only mount gave %v", err)
	}
}

func mountAt(t *testing.T, path string) disk.Mount {
	t.Helper()
	mounts, err := disk.ReadMounts(sys)
	if err != nil {
		t.Fatal(err)
	}
	m, ok := mounts.At(path)
	if !ok {
		t.Fatalf("nothing is mounted on %s", path)
	}
	return m
}
