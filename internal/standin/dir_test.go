package standin

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mounted is a directory as Kubernetes mounts a ConfigMap.
type mounted struct {
	t    *testing.T
	path string
}

// put replaces the keys in one step.
func (m mounted) put(version string, data map[string]string) {
	m.t.Helper()
	must := func(err error) {
		m.t.Helper()
		if err != nil && !os.IsExist(err) {
			m.t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(m.path, version), 0o755))
	for key, value := range data {
		must(os.WriteFile(filepath.Join(m.path, version, key), []byte(value), 0o644))
		must(os.Symlink(filepath.Join("..data", key), filepath.Join(m.path, key)))
	}
	must(os.Symlink(version, filepath.Join(m.path, "..data_tmp")))
	must(os.Rename(filepath.Join(m.path, "..data_tmp"), filepath.Join(m.path, "..data")))
}

func TestDirLoad(t *testing.T) {
	m := mounted{t, t.TempDir()}
	if _, _, err := (Dir{filepath.Join(m.path, "absent")}).Load(); err == nil || !strings.HasPrefix(err.Error(), "reading configuration: ") {
		t.Errorf("without the directory: %v", err)
	}
	d := Dir{m.path}
	m.put("..2024_01", map[string]string{keyClasses: "fast: {hostDir: /mnt/disks/, mountDir: /mnt/disks}\n", keyAlphaAPI: "true", "other": "{"})
	cfg, notes, err := d.Load()
	if err != nil || len(cfg.Classes) != 1 || cfg.Classes[0].Name != "fast" {
		t.Fatalf("got %+v, %v", cfg, err)
	}
	if all := strings.Join(notes, "\n"); len(notes) != 2 || !strings.Contains(all, "other:1: unknown key") || !strings.Contains(all, "useAlphaAPI:1: ") {
		t.Errorf("notes are %q", notes)
	}
	m.put("..2024_02", map[string]string{keyClasses: "fast: {hostDir: /mnt/disks}\n"})
	if cfg, _, err := d.Load(); cfg != nil || err == nil || err.Error() != "storageClassMap:1: fast.mountDir: missing; every class needs it" {
		t.Errorf("a bad edit gives %+v, %v", cfg, err)
	}
}

// A directory without ..data, as people make it by hand.
func TestDirOfFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{keyClasses: "fast: {hostDir: /mnt/disks, mountDir: /mnt/disks}\n", "..hidden": "{"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, keyLabels), 0o700); err != nil {
		t.Fatal(err)
	}
	cfg, notes, err := Dir{dir}.Load()
	if err != nil || len(notes) != 0 || len(cfg.Classes) != 1 {
		t.Errorf("got %+v, %q, %v", cfg, notes, err)
	}
}

func TestDirWatch(t *testing.T) {
	m := mounted{t, t.TempDir()}
	m.put("..1", map[string]string{keyJob: "one"})
	ctx, cancel := context.WithCancel(t.Context())
	calls, done := make(chan string, 10), make(chan error, 1)
	d := Dir{m.path}
	go func() {
		done <- d.Watch(ctx, func() {
			data, err := d.Read()
			if err != nil {
				t.Error(err)
			}
			calls <- data[keyJob]
		})
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-calls:
			if got != want {
				t.Fatalf("called for %q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("not called")
		}
	}
	expect("one")
	m.put("..2", map[string]string{keyJob: "two"})
	expect("two")
	m.put("..3", map[string]string{keyJob: "two"}) // no change
	m.put("..4", map[string]string{keyJob: "two", keyLabels: "a: b"})
	expect("two")
	cancel()
	if err := <-done; err != nil || len(calls) > 0 {
		t.Errorf("ended with %v and %d more calls", err, len(calls))
	}
}
