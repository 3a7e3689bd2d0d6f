//go:build root

package volume

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRootReadOnlyJournal(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	j := open(t, dir)
	if err := j.Put(fullRecord()); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	changed := fullRecord()
	changed.State = Wiping
	if err := j.Put(changed); err == nil {
		t.Error("wrote to a read-only directory")
	}
	for _, j := range []*Journal{j, open(t, dir)} { // what is there can still be read
		if got, ok := j.Get(changed.ID); !ok || got.State != Used {
			t.Errorf("got %+v, %v; want the record as it was", got, ok)
		}
	}
	if _, err := OpenJournal(dir + "/below"); err == nil {
		t.Error("made a directory in a read-only one")
	}
	if _, err := os.Stat(dir + "/below"); !os.IsNotExist(err) {
		t.Errorf("below: %v", err)
	}
}
