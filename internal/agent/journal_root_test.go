//go:build root

package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/volume"
)

// TestRootJournalDirectory: with the journal on a filesystem that is full, or
// read-only, the agent publishes nothing, wipes nothing, says what to do, and
// goes on when the filesystem takes writes again.
func TestRootJournalDirectory(t *testing.T) {
	for _, c := range []struct {
		name, says    string
		refuse, admit func(t *testing.T, dir string)
	}{
		{"full", "no space left on device", func(t *testing.T, dir string) {
			f, err := os.Create(filepath.Join(dir, "filler"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for err == nil {
				_, err = f.Write(make([]byte, 4096))
			}
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
		}, func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
				t.Fatal(err)
			}
		}},
		{"read-only", "read-only file system", func(t *testing.T, dir string) {
			if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, dir string) {
			if err := unix.Mount("", dir, "", unix.MS_REMOUNT, ""); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=128k"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(dir, 0); err != nil {
					t.Errorf("unmounting %s: %v", dir, err)
				}
			})
			if err := os.Mkdir(filepath.Join(dir, "volumes"), 0o700); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
				life := func() (*Agent, func()) {
					j, err := openJournal(dir)
					if err != nil {
						t.Fatal(err)
					}
					w.journal = j
					return w.start(t, 0, false)
				}
				state := func(want volume.State) {
					t.Helper()
					if r, _ := w.journal.Get(volume.IDOf("fs:1:/")); r.State != want {
						t.Errorf("the volume is %q, want %q", r.State, want)
					}
				}
				c.refuse(t, dir)
				a, stop := life()
				settle()
				wantNames(t, w)
				wantSays(t, a, 1, "JournalFailed", dir, c.says, "make room")
				c.admit(t, dir)
				settle()
				wantNames(t, w, "a Available")
				wantSays(t, a, 0)

				w.claimAll(t, "tenant")
				settle()
				c.refuse(t, dir)
				w.releaseAll()
				settle()
				state(volume.Used)
				stop() // and nothing is lost over a start
				a, stop = life()
				defer stop()
				settle()
				wantNames(t, w, "a Released")
				if says := strings.Join(a.says(), "\n"); !strings.Contains(says, c.says) {
					t.Errorf("it says %q", says)
				}
				c.admit(t, dir)
				settle()
				wantNames(t, w, "a Available")
				state(volume.Published)
			})
		})
	}
}

// TestRootDamageOnFullDisk: a damaged record is no reason not to start where it
// cannot be set aside yet; its volume is held back, and nothing is overwritten.
func TestRootDamageOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	id := volume.IDOf("fs:1:/")
	file := filepath.Join(dir, "volumes", string(id)+".json")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/", bytes: "a tenant's"}})
		j, err := openJournal(dir)
		if err != nil {
			t.Fatal(err)
		}
		w.journal = j
		a, stop := w.start(t, 0, false)
		defer stop()
		a.reportDamaged(j.Damaged())
		settle()
		wantNames(t, w)
		says := strings.Join(a.says(), "\n")
		for _, want := range []string{"JournalDamaged", file, "cannot be set aside yet", "Quarantined"} {
			if !strings.Contains(says, want) {
				t.Errorf("%q is not in %s", want, says)
			}
		}
	})
	if data, err := os.ReadFile(file); err != nil || string(data) != "rubbish" {
		t.Errorf("the damaged record is %q, %v", data, err)
	}
}
