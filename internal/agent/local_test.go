package agent

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-storage/berth/internal/config"
)

// TestScanStrayEntries puts everything that is no volume into a discovery
// directory. Each is named with a reason, and none stops the others.
func TestScanStrayEntries(t *testing.T) {
	dir := t.TempDir()
	class := testClass
	class.MountDir, class.HostDir = dir, dir
	path := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(path("file"), nil, 0o600))
	must(syscall.Mkfifo(path("fifo"), 0o600))
	l, err := net.Listen("unix", path("sock"))
	must(err)
	defer l.Close()
	must(os.Symlink("/dev/no-such-disk", path("broken")))
	must(os.Symlink("/etc", path("elsewhere")))
	must(os.Symlink("/dev/../etc/passwd", path("escape")))
	must(os.Symlink("/dev/null", path("null")))
	must(os.Mkdir(path("plain"), 0o755))
	must(os.Mkdir(path("with space"), 0o755))
	must(os.Mkdir(path("new\nline"), 0o755))
	must(os.Mkdir(path("bad\xffutf8"), 0o755))
	must(os.Mkdir(path("locked"), 0))

	entries, errs, err := localMachine{}.Scan([]config.Class{class})
	must(err)
	if len(errs) != 0 {
		t.Fatalf("errors: %v", errs)
	}
	why := map[string]string{
		"file": "is a regular file", "fifo": "is a FIFO", "sock": "is a socket", "broken": "is a broken link",
		"elsewhere": `is a link to "/etc"`, "escape": `is a link to`, "null": "not a block device",
		"plain": "is not a valid mount point", "with space": "is not a valid mount point", "locked": "is not a valid mount point",
		"new\nline": "control characters", "bad\xffutf8": "invalid UTF-8",
	}
	for _, e := range entries {
		want, ok := why[e.Name]
		delete(why, e.Name)
		if !ok || e.Kind != kindOther || !strings.Contains(e.Why, want) {
			t.Errorf("%q is %s: %q, want %q", e.Name, e.Kind, e.Why, want)
		}
		d, problem, err := localMachine{}.Inspect(class, e)
		if d != nil || problem != e.Why || err != nil {
			t.Errorf("%q: inspecting gave %v, %q, %v", e.Name, d, problem, err)
		}
	}
	if len(why) != 0 {
		t.Errorf("not seen: %v", why)
	}
	if got := refusal(slot{entry: entry{Name: "plain"}, class: config.Class{MountDir: "/mnt/disks"}}, "is not a valid mount point"); got != `path "/mnt/disks/plain" is not a valid mount point` {
		t.Errorf("the log line is %s", got)
	}
}

// TestScanMissingDirectory: it is told apart from an empty one.
func TestScanMissingDirectory(t *testing.T) {
	class := testClass
	class.MountDir = filepath.Join(t.TempDir(), "missing")
	_, errs, err := localMachine{}.Scan([]config.Class{class})
	if err != nil || !os.IsNotExist(errs[class.Name]) {
		t.Errorf("got %v, %v", errs, err)
	}
}

// TestScanSharedDirectory: an entry that two classes match is the first one's,
// and the agent's own directory is nobody's.
func TestScanSharedDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"nvme0", "sda", ".berth"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	first, rest := testClass, testClass
	first.Name, first.MountDir, first.NamePattern = "first", dir, "nvme*"
	rest.Name, rest.MountDir, rest.NamePattern = "rest", dir, "*"
	entries, _, err := localMachine{}.Scan([]config.Class{first, rest})
	if err != nil {
		t.Fatal(err)
	}
	why := map[key]string{}
	for _, e := range entries {
		why[e.key()] = e.Why
	}
	if len(why) != 3 || !strings.Contains(why[key{"first", "nvme0"}], "mount point") || !strings.Contains(why[key{"rest", "sda"}], "mount point") ||
		!strings.Contains(why[key{"rest", "nvme0"}], "of class first, too") {
		t.Errorf("got %q", why)
	}
}
