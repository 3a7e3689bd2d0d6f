package standin

import (
	"slices"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
)

func TestStateDir(t *testing.T) {
	const (
		machine  = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
		overlay  = "1 0 0:50 / / rw - overlay overlay rw\n"
		image    = "1 0 8:1 /snapshots/7/fs / rw - ext4 /dev/sda1 rw\n" // a runtime without overlay
		state    = "2 1 8:1 /var/lib/berth /var/lib/berth rw - ext4 /dev/sda1 rw\n"
		above    = "2 1 8:1 /var/lib /var/lib rw - ext4 /dev/sda1 rw\n"
		emptyDir = "2 1 8:1 /var/lib/kubelet/pods/1/volumes/kubernetes.io~empty-dir/x /var/lib/berth rw - ext4 /dev/sda1 rw\n"
		inMemory = "2 1 0:60 / /var/lib/berth rw - tmpfs tmpfs rw\n"
		a        = "3 1 8:1 /mnt/a /mnt/a rw - ext4 /dev/sda1 rw\n"
		b        = "4 1 8:1 /mnt/b /mnt/b rw - ext4 /dev/sda1 rw\n"
		dev      = "3 1 0:5 / /mnt/a rw - devtmpfs udev rw\n"
		shared   = "3 1 0:70 / /mnt/a rw - nfs4 server:/x rw\n"
	)
	both := []string{"/mnt/a", "/mnt/b"}
	for _, c := range []struct {
		name, mounts string
		pod          bool
		writable     []string // directories that exist and can be written to
		readOnly     []string // directories that exist
		want         string
		warned       bool
	}{
		{"a machine", machine, false, both, nil, "/var/lib/berth", false},
		{"a pod with a state directory", overlay + state + a, true, both, nil, "/var/lib/berth", false},
		{"a pod with a directory above it", overlay + above + a, true, both, nil, "/var/lib/berth", false},
		{"one from before the state directory", overlay + state + a + b, true, append(both, "/mnt/b/.berth", "/mnt/b/.berth/volumes"), nil, "/mnt/b/.berth", true},
		{"one that was moved", overlay + state + a + b, true, append(both, "/mnt/b/.berth", "/var/lib/berth/volumes"), nil, "/var/lib/berth", false},
		{"one that was copied", overlay + state + a + b, true, append(both, "/mnt/b/.berth", "/mnt/b/.berth/volumes", "/var/lib/berth/volumes"), nil, "/var/lib/berth", false},
		{"a container out of a cluster", overlay + a + b, false, both, nil, "/mnt/a/.berth", false},
		{"a pod whose root looks like a machine's", image + a + b, true, both, nil, "/mnt/a/.berth", false},
		{"an emptyDir is no state directory", overlay + emptyDir + a, true, both, nil, "/mnt/a/.berth", false},
		{"nor is memory", overlay + inMemory + a, true, both, nil, "/mnt/a/.berth", false},
		{"one is there", overlay + a + b, true, append(both, "/mnt/b/.berth"), nil, "/mnt/b/.berth", false},
		{"one is there that cannot be used", overlay + a + b, true, both, []string{"/mnt/b/.berth"}, "/mnt/a/.berth", false},
		{"the first is read-only", overlay + a + b, true, both[1:], both[:1], "/mnt/b/.berth", false},
		{"the first is missing", overlay + b, true, both[1:], nil, "/mnt/b/.berth", false},
		{"the first is no mount", overlay + b, true, both, nil, "/mnt/b/.berth", false},
		{"the first is /dev", overlay + dev + b, true, both, nil, "/mnt/b/.berth", false},
		{"the first is other nodes', too", overlay + shared + b, true, both, nil, "/mnt/b/.berth", false},
		{"none will do", overlay + dev + b, true, both[:1], both[1:], "/var/lib/berth", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			mounts, err := disk.ParseMounts(strings.NewReader(c.mounts))
			if err != nil {
				t.Fatal(err)
			}
			h := Host{Mounts: mounts, InPod: c.pod,
				IsDir:    func(d string) bool { return slices.Contains(c.writable, d) || slices.Contains(c.readOnly, d) },
				Writable: func(d string) bool { return slices.Contains(c.writable, d) }}
			got, warning := StateDir(h, []config.Class{{Name: "a", MountDir: "/mnt/a"}, {Name: "a2", MountDir: "/mnt/a"}, {Name: "b", MountDir: "/mnt/b"}})
			if got != c.want || (warning != "") != c.warned {
				t.Errorf("got %s, warning %q; want %s", got, warning, c.want)
			}
		})
	}
}

func TestThisHost(t *testing.T) {
	dir := t.TempDir()
	h := ThisHost(nil, false)
	if !h.IsDir(dir) || !h.Writable(dir) || h.IsDir(dir+"/absent") || h.IsDir("/dev/null") {
		t.Error("directories are not told from what is none")
	}
}
