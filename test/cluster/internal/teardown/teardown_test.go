package teardown

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/berth-storage/berth/test/cluster/internal/state"
)

// Without a record nothing is removed, whatever its name.
func TestDownWithoutRecord(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "usr")
	precious := filepath.Join(dir, "bin", "precious")
	if err := os.MkdirAll(precious, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Down(dir); !errors.Is(err, state.ErrNone) {
		t.Errorf("down says %v", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
	if err := CheckEmpty(dir); err == nil {
		t.Error("a cluster may be made among other things")
	}
}

// A start that was killed before the record was there leaves a directory that
// goes, and in which another start is allowed.
func TestDownOfNothingMuch(t *testing.T) {
	for _, names := range [][]string{nil, {"lock"}, {"lock", state.File + ".new"}} {
		dir := filepath.Join(t.TempDir(), "cluster")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := CheckEmpty(dir); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := Down(dir); !errors.Is(err, state.ErrNone) {
				t.Errorf("down says %v", err)
			}
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("with %v, the directory is left: %v", names, err)
		}
	}
}

// Down of a record whose processes are long gone removes the cluster's files
// and keeps what somebody else put beside them.
func TestDownKeepsOthersFiles(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may look at cgroups and loop devices")
	}
	dir := t.TempDir()
	s := state.New(dir)
	s.Supervisor = state.Process{PID: os.Getpid(), Start: 1} // the number is somebody else's by now
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"logs", "nodes/node-1/var", "mine"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := Down(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "mine" {
		t.Errorf("left are %v, %v", entries, err)
	}
}

func TestRemoveTreeImmutable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mark files immutable")
	}
	dir := filepath.Join(t.TempDir(), "node")
	guarded := filepath.Join(dir, "mnt", "disks", "guarded")
	if err := os.MkdirAll(guarded, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("chattr", "+i", guarded).CombinedOutput(); err != nil {
		t.Skipf("this filesystem has no immutable mark: %s", out)
	}
	if err := os.RemoveAll(dir); err == nil {
		t.Fatal("the mark does not hold")
	}
	if err := RemoveTree(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}
