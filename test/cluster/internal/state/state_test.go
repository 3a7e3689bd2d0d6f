package state

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSaveAndLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); !errors.Is(err, ErrNone) {
		t.Errorf("an empty directory gives %v, want ErrNone", err)
	}
	s := New(dir)
	s.Prefix = "198.18.7"
	s.Programs["kubelet"] = "/cache/kubelet"
	s.Nodes = []Node{{Name: "node-1", Index: 1, Status: Running, Disks: []Disk{{Name: "a b", FS: "xfs", Bytes: 1 << 29}}}}
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, s) {
		t.Errorf("loaded %+v, want %+v", got, s)
	}
	if n := got.Node("node-1"); n == nil || n.Disk("a b") == nil || n.Disk("c") != nil || got.Node("node-2") != nil {
		t.Error("nodes and disks are not found by name")
	}
	if a, p := got.Address(got.Node("node-1")), got.Node("node-1").PodRange(); a != "198.18.7.11" || p != "10.244.1.0/24" {
		t.Errorf("the node's addresses are %s and %s", a, p)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("saving left %v", entries)
	}
}

// A directory that was copied or moved has the names of another cluster's
// devices in its record; taking those away would be wrong.
func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, File)
	for _, test := range []struct{ text, want string }{
		{`{"version":1,"dir":"/elsewhere"}`, "it was made for /elsewhere"},
		{`{"version":99,"dir":"` + dir + `"}`, "version 99"},
		{`{"version":`, "unexpected end"},
	} {
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s gives %v, want %q", test.text, err, test.want)
		}
	}
}

// Names of network devices have at most 15 characters.
func TestNamesDiffer(t *testing.T) {
	a, b := New("/a"), New("/b")
	if a.ID == b.ID || a.Link == b.Link || a.Cgroup == b.Cgroup || len(a.Link) > 15 {
		t.Errorf("%+v and %+v", a, b)
	}
}

func TestProcess(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Alive() {
		t.Error("a running process is not alive")
	}
	other := Process{PID: p.PID, Start: p.Start + 1}
	if other.Alive() {
		t.Error("another process under the same number is alive")
	}
	if err := other.Kill(time.Second); err != nil || !p.Alive() {
		t.Errorf("killing a process that is gone killed the one with its number: %v", err)
	}
	if err := p.Kill(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if p.Alive() {
		t.Error("a zombie is alive")
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it was not killed")
	}
	if (Process{}).Alive() {
		t.Error("no process is alive")
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	first, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); err == nil {
		t.Error("the lock was given twice")
	}
	first.Close()
	second, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}
