package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCommand(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{
		"go.mod":                   "module m",
		"test/cluster/go.mod":      "module m/test/cluster",
		"a/pure_test.go":           "package a\nfunc TestPure(t *testing.T) {}",
		"a/a_root_test.go":         "//go:build root\n\npackage a\nfunc TestB(t *testing.T) {}\nfunc TestA(t *testing.T) {}\nfunc Testify() {}\nfunc TestMain(m *testing.M) {}\nfunc helper() {}",
		"a/a_vm_test.go":           "//go:build vm\n\npackage a\nfunc TestDisk(t *testing.T) {}",
		"a/b/c_root_test.go":       "// A comment.\n\n//go:build linux && root\n\npackage b\nfunc TestC(t *testing.T) {}",
		"a/b/not_root_test.go":     "//go:build !root\n\npackage b\nfunc TestNot(t *testing.T) {}",
		"a/testdata/x_test.go":     "//go:build root\n\npackage x\nfunc TestX(t *testing.T) {}",
		"s_test.go":                "//go:build script\n\npackage m\nfunc TestS(t *testing.T) {}\nfunc FuzzS(f *testing.F) {}",
		"test/cluster/c_test.go":   "//go:build cluster\n\npackage cluster\nfunc TestReal(t *testing.T) {}",
		"test/cluster/r/r_test.go": "//go:build root\n\npackage r\nfunc TestLink(t *testing.T) {}",
	})
	for _, c := range []struct{ tier, module, want string }{
		{"pure", ".", "test -C . -json -timeout=5m ./..."},
		{"pure", "test/cluster", "test -C test/cluster -json -timeout=5m ./..."},
		{"script", ".", "test -C . -json -count=1 -timeout=10m -tags=script -run=^(FuzzS|TestS)$ ./."},
		{"script", "test/cluster", ""},
		{"root", ".", "test -C . -json -count=1 -p=1 -timeout=10m -tags=root -run=^(TestA|TestB|TestC)$ ./a ./a/b"},
		{"root", "test/cluster", "test -C test/cluster -json -count=1 -p=1 -timeout=10m -tags=root -run=^(TestLink)$ ./r"},
		{"vm", ".", "test -C . -json -count=1 -p=2 -timeout=2h -exec=go run github.com/berth-storage/berth/test/vm/cmd/vmexec -tags=vm -run=^(TestDisk)$ ./a"},
		{"cluster", ".", ""},
		{"cluster", "test/cluster", "test -C test/cluster -json -count=1 -p=1 -timeout=30m -tags=cluster -run=^(TestReal)$ ./."},
	} {
		chosen, err := choose([]string{c.tier})
		if err != nil || len(chosen) != 1 {
			t.Fatal(chosen, err)
		}
		args, err := chosen[0].command(root, c.module)
		if got := strings.Join(args, " "); err != nil || got != c.want {
			t.Errorf("%s in %s: %q, %v\nwant %q", c.tier, c.module, got, err, c.want)
		}
	}
	if _, err := tiers[0].command(root, "absent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a module that is not there: %v", err)
	}
}

func TestChoose(t *testing.T) {
	names := func(list []tier) (names []string) {
		for _, t := range list {
			names = append(names, t.name)
		}
		return names
	}
	for _, c := range []struct{ args, want []string }{
		{nil, []string{"pure", "script", "root", "vm", "cluster"}},
		{[]string{"root", "pure"}, []string{"pure", "root"}},
	} {
		if got, err := choose(c.args); err != nil || !reflect.DeepEqual(names(got), c.want) {
			t.Errorf("%q: %v, %v, want %q", c.args, names(got), err, c.want)
		}
	}
	if _, err := choose([]string{"rot"}); err == nil || err.Error() != `found tier "rot"; allowed: pure, script, root, vm, cluster` {
		t.Errorf("an unknown tier: %v", err)
	}
}

func TestInterruptWaitsForCleanUp(t *testing.T) {
	cleaned, ready := filepath.Join(t.TempDir(), "cleaned"), filepath.Join(t.TempDir(), "ready")
	t.Setenv("CLEANED", cleaned)
	t.Setenv("READY", ready)
	if err := syscall.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithTimeout(t.Context(), 2*time.Minute)
	defer interrupt()
	go func() {
		// Opening the pipe waits until the test is ready to be interrupted.
		if f, err := os.Open(ready); err == nil {
			interrupt()
			f.Close()
		}
	}()
	tally := &tally{tier: "cluster"}
	var out bytes.Buffer
	s := newStream(tier{name: "cluster"}, tally, &out)
	if err := test(ctx, "testdata/interrupt", []string{"test", "-json", "-count=1", "."}, false, s); !errors.Is(err, errInterrupted) {
		t.Errorf("interrupted tests ended with %v", err)
	}
	if _, err := os.Stat(cleaned); err != nil {
		t.Errorf("the tests were not waited for: %v\n%s", err, &out)
	}
	if tally.failed != 1 || !strings.Contains(out.String(), "interrupted; waiting at most") {
		t.Errorf("%d failed, want 1; printed\n%s", tally.failed, &out)
	}
}
