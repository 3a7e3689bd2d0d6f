package disk_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/disk"
)

// mangle writes a field of mountinfo as the kernel does: mangle_path in Linux
// fs/seq_file.c, with the characters that fs/proc_namespace.c names.
func mangle(text, escaped string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if strings.IndexByte(escaped, c) >= 0 {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// FuzzMountinfoRoundTrip: whatever a mount point, a source and a directory are
// called, what the kernel writes of them is read back as it was, and no name
// makes another mount appear.
func FuzzMountinfoRoundTrip(f *testing.F) {
	f.Add("/", "/mnt/disks/d1", "ext4", "/dev/sda1", true)
	f.Add("/a b", "/mnt/\t\n\\x\\040", "fuse.my fs", "server:/ex port#1", false)
	f.Add("/ - ext4", "/mnt/x\n40 1 8:0 / /mnt/y rw - xfs /dev/sdb rw", "ext4", "#", false)
	f.Add("/\xff\xfe", "/\\134\r", "f", "\\", true)
	f.Fuzz(func(t *testing.T, root, point, fsType, source string, readOnly bool) {
		for _, s := range []string{root, point, fsType, source} {
			if s == "" || strings.Contains(s, "\x00") {
				return // no name of anything
			}
		}
		mode := map[bool]string{true: "ro", false: "rw"}[readOnly]
		line := fmt.Sprintf("36 35 98:1 %s %s %s,noatime shared:1 - %s %s rw\n", mangle(root, " \t\n\\"), mangle(point, " \t\n\\"), mode, mangle(fsType, " \t\n\\#"), mangle(source, " \t\n\\#"))
		mounts, err := disk.ParseMounts(strings.NewReader("1 0 8:0 / / rw - ext4 /dev/root rw\n" + line))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		want := disk.Mount{ID: 36, Major: 98, Minor: 1, Root: root, Point: point, FSType: fsType, Source: source, ReadOnly: readOnly}
		if got, ok := mounts.At(point); !ok || got != want {
			t.Errorf("got  %+v, %v\nwant %+v\nfrom %q", got, ok, want, line)
		}
		if all := len(mounts.OfDevice(98, 1)) + len(mounts.OfDevice(8, 0)); all != 2 {
			t.Errorf("%q makes %d mounts", line, all)
		}
	})
}
