//go:build root

package wipe

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/host/hosttest"
)

// TestContentsCrashProtected is TestContentsCrash with what takes privilege to
// plant: an immutable tree, and a read-only subvolume.
func TestContentsCrashProtected(t *testing.T) {
	base := hosttest.NewFS(t, "btrfs", hosttest.MinFS)
	named := map[string]bool{}
	for at := 1; ; at++ {
		volume := filepath.Join(base, "volume")
		deep := filepath.Join(volume, "a"+strings.Repeat("/d", maxDepth+2))
		command(t, "mkdir", "-p", deep)
		command(t, "touch", deep+"/file")
		command(t, "chattr", "-R", "+i", volume+"/a")
		command(t, "btrfs", "-q", "subvolume", "create", volume+"/s")
		command(t, "touch", volume+"/s/file")
		command(t, "btrfs", "-q", "property", "set", volume+"/s", "ro", "true")
		fake := openFake(t, volume)
		fake.fault = fault{at: at, after: at%2 == 0}
		_, err := contents(t.Context(), fake, ContentsOptions{Workers: 1})
		for _, name := range fake.seen {
			named[name] = true
		}
		if !errors.Is(err, errDead) && (err != nil || fake.dead) {
			t.Fatalf("killed at call %d: %v", at, err)
		}
		if _, err := contents(t.Context(), openFake(t, volume), ContentsOptions{Workers: 1}); err != nil {
			t.Fatalf("started again after call %d (%s): %v", at, fake.seen[len(fake.seen)-1], err)
		}
		if left, err := os.ReadDir(volume); err != nil || len(left) > 0 {
			t.Fatalf("killed at call %d: left %v, %v", at, left, err)
		}
		if !fake.dead {
			break
		}
		at += at / 20 // a sample: every call at first, then fewer
	}
	for _, name := range []string{"UnprotectEntry", "Unseal", "Move"} {
		if !named[name] {
			t.Errorf("never called: %s", name)
		}
	}
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("running %s %v: %v\n%s", name, args, err, out)
	}
}

// blind does not see mounts in advance: they were made after it looked.
type blind struct{ *fakeTree }

func (blind) NestedMounts() ([]string, error) { return nil, nil }

// TestMountMadeDuringTheWipe: a mount that nobody knew of stops the wipe too,
// with its path, and what is beneath it stays.
func TestMountMadeDuringTheWipe(t *testing.T) {
	for _, name := range []string{"a/nested", "a" + strings.Repeat("/d", maxDepth+3), "lost+found"} {
		volume := hosttest.NewFS(t, "ext4", 64*hosttest.MiB)
		nested := filepath.Join(volume, name)
		command(t, "mkdir", "-p", nested)
		if err := unix.Mount("berth-test", nested, "tmpfs", 0, "size=1m"); err != nil {
			t.Fatal(err)
		}
		precious := filepath.Join(nested, "precious")
		command(t, "touch", precious)
		_, err := contents(t.Context(), blind{openFake(t, volume)}, ContentsOptions{})
		if !errors.Is(err, host.ErrNestedMount) || !strings.Contains(err.Error(), filepath.Base(name)) {
			t.Errorf("%s: %v, want ErrNestedMount with the path", name, err)
		}
		// The mount goes where a directory above it is moved to.
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		var point string
		for line := range strings.Lines(string(mounts)) {
			if f := strings.Fields(line); strings.HasPrefix(f[4], volume+"/") {
				point = f[4]
			}
		}
		if _, err := os.Stat(filepath.Join(point, "precious")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
