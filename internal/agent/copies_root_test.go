//go:build root

package agent

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/host/hosttest"
	"github.com/berth-storage/berth/internal/volume"
)

// TestRootClone: a disk that was copied block by block has the identity of the
// first, and is told apart by what it lies on; a filesystem that is mounted
// twice is known to be one.
func TestRootClone(t *testing.T) {
	const kind = "ext4" // xfs and btrfs mount no copy without being told to
	class := testClass
	class.MountDir = t.TempDir()
	place := func(name string) string {
		at := filepath.Join(class.MountDir, name)
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(at, 0); err != nil {
				t.Errorf("unmounting %s: %v", at, err)
			}
		})
		return at
	}
	mount := func(source, at, kind string, flags uintptr) {
		t.Helper()
		if err := unix.Mount(source, at, kind, flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	first := hosttest.Format(t, kind, hosttest.NewLoop(t, 32*hosttest.MiB))
	second := hosttest.NewLoop(t, 32*hosttest.MiB)
	if err := os.WriteFile(second, contents(t, first), 0o600); err != nil {
		t.Fatal(err)
	}
	one, two, again := place("one"), place("two"), place("again")
	mount(first, one, kind, 0)
	mount(second, two, kind, 0)
	mount(one, again, "", unix.MS_BIND)

	entries, _, err := localMachine{}.Scan([]config.Class{class})
	if err != nil || len(entries) != 3 {
		t.Fatalf("scanning gave %v, %v", entries, err)
	}
	found := map[string]*volume.Disk{}
	byName := map[string]entry{}
	for _, e := range entries {
		d, problem, err := localMachine{}.Inspect(class, e)
		if err != nil || problem != "" {
			t.Fatal(err, problem)
		}
		found[e.Name], byName[e.Name] = d, e
	}
	if found["one"].Identity != found["two"].Identity || found["one"].Identity != found["again"].Identity {
		t.Errorf("the identities are %s, %s and %s", found["one"].Identity, found["two"].Identity, found["again"].Identity)
	}
	if m := found["one"].Medium; m == "" || m == found["two"].Medium || m != found["again"].Medium {
		t.Errorf("they lie on %q, %q and %q", m, found["two"].Medium, found["again"].Medium)
	}
	if byName["one"].same(byName["two"]) || !byName["one"].same(byName["again"]) {
		t.Error("the copy is taken for the same, or the same for a copy")
	}
}

// TestRootDeviceSwapped is guarantee 1 for a device that is swapped between the
// decision and the write: for another one, or for one with the same identity.
func TestRootDeviceSwapped(t *testing.T) {
	class, job, device := dirtyDevice(t)
	other := hosttest.NewLoop(t, 64<<20)
	if err := os.WriteFile(other, bytes.Repeat([]byte("precious"), 64<<17), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(class.MountDir, "dev")
	point := func(to string) {
		t.Helper()
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	for _, wipe := range []config.Wipe{config.DefaultWipe, {Method: config.WipeCommand, Passes: 1, Command: []string{"sh", "-c", "echo > $LOCAL_PV_BLKDEVICE"}}} {
		class.Wipe = wipe
		point(other)
		if _, err := (localMachine{}).Wipe(t.Context(), class, job); err == nil || !bytes.HasPrefix(contents(t, other), []byte("precious")) {
			t.Errorf("%s: wiping another device gave %v", wipe.Method, err)
		}
		point(device)
		twin := job
		twin.Entry.Minor++ // what was judged had this identity, under another number
		if _, err := (localMachine{}).Wipe(t.Context(), class, twin); err == nil || !strings.Contains(err.Error(), "was looked at") || !bytes.HasPrefix(contents(t, device), []byte("secret")) {
			t.Errorf("%s: wiping a device of the same identity gave %v", wipe.Method, err)
		}
	}
}

// TestRootMember: a device that bears the mark of something that nothing has
// active now is not free, and is once that is wiped. Where the data is kept, any
// mark may be there.
func TestRootMember(t *testing.T) {
	device := hosttest.NewLoop(t, 64<<20)
	class := deviceClass(t, device)
	if out, err := exec.CommandContext(t.Context(), "mkswap", device).CombinedOutput(); err != nil {
		t.Fatalf("mkswap: %v\n%s", err, out)
	}
	e, d, _ := scanOne(t, class)
	if e.Refused != "" || !strings.Contains(d.Refused, "verdict Foreign") || !strings.Contains(d.Refused, "swap") {
		t.Errorf("a device with swap that is not on is judged %q", d.Refused)
	}
	kept := class
	kept.ReadOnly = true
	if _, d, _ := scanOne(t, kept); d.Refused != "" {
		t.Errorf("where the data is kept, it is judged %q", d.Refused)
	}
	job := wipeJob{Entry: e, Identity: d.Identity, Reached: func(int64) error { return nil }}
	if _, err := (localMachine{}).Wipe(t.Context(), class, job); err != nil {
		t.Fatal(err)
	}
	if _, d, _ := scanOne(t, class); d.Refused != "" {
		t.Errorf("after the wipe it is judged %q", d.Refused)
	}
}
