package config

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// watched is a running Watch and the contents that the file had at its calls.
type watched struct {
	t     *testing.T
	calls chan string
}

func startWatch(t *testing.T, file string) watched {
	ctx, cancel := context.WithCancel(context.Background())
	w := watched{t: t, calls: make(chan string, 100)}
	done := make(chan error, 1)
	go func() {
		done <- File{Path: file}.Watch(ctx, func() {
			data, err := os.ReadFile(file)
			if err != nil {
				data = []byte("absent")
			}
			w.calls <- string(data)
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
		if n := len(w.calls); n > 0 {
			t.Errorf("%d calls too many, the first for %q", n, <-w.calls)
		}
	})
	return w
}

// next is the content at the next call.
func (w watched) next() string {
	w.t.Helper()
	select {
	case got := <-w.calls:
		return got
	case <-time.After(20 * time.Second):
		w.t.Fatal("not called")
		return ""
	}
}

// expect wants the next call to be for this content: no call before it was for another.
func (w watched) expect(content string) {
	w.t.Helper()
	if got := w.next(); got != content {
		w.t.Fatalf("called for %q, want %q", got, content)
	}
}

// put gives the file its content in one step.
func put(t *testing.T, file, content string) {
	t.Helper()
	must(t, os.WriteFile(file+".next", []byte(content), 0o644))
	must(t, os.Rename(file+".next", file))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A ConfigMap volume: the file is a link through ..data, which is swapped.
func TestWatchSeesSwappedConfigMap(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "agent.yaml")
	swap := func(version, content string) {
		must(t, os.Mkdir(filepath.Join(dir, version), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, version, "agent.yaml"), []byte(content), 0o644))
		must(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
		must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	swap("..1", "one")
	must(t, os.Symlink("..data/agent.yaml", file))
	w := startWatch(t, file)
	w.expect("one")
	swap("..2", "two")
	w.expect("two")
	must(t, os.RemoveAll(filepath.Join(dir, "..1")))
	swap("..3", "two") // the same content is no change
	swap("..4", "four")
	w.expect("four")
}

func TestWatchCallsOnceForManyWrites(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent.yaml")
	put(t, file, "one")
	w := startWatch(t, file)
	w.expect("one")
	for range 50 {
		put(t, file, "between")
	}
	put(t, file, "last")
	// On a machine that stalls between the writes they may settle twice.
	if got := w.next(); got == "between" {
		w.expect("last")
	} else if got != "last" {
		t.Fatalf("called for %q", got)
	}
}

func TestWatchSeesFileAndDirectoryAppear(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "etc", "berth", "agent.yaml")
	w := startWatch(t, file)
	w.expect("absent")
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	put(t, file, "one")
	w.expect("one")
	must(t, os.RemoveAll(filepath.Join(root, "etc")))
	w.expect("absent")
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	put(t, file, "two")
	w.expect("two")
	must(t, os.Rename(filepath.Join(root, "etc", "berth"), filepath.Join(root, "gone")))
	w.expect("absent")
	must(t, os.Rename(filepath.Join(root, "gone"), filepath.Join(root, "etc", "berth")))
	w.expect("two")
}
