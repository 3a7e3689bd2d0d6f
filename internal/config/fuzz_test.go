package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// FuzzDecode holds that Decode never panics, that a refusal names a line of the
// file on every line of its text, and that what it accepts keeps the rules on
// which everything behind it relies.
func FuzzDecode(f *testing.F) {
	f.Add(Example)
	seeds, _ := filepath.Glob("testdata/refused/*.yaml")
	for _, name := range seeds {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		agent, err := Decode("f", data, []string{"/mnt", "/srv"})
		if err != nil {
			var refused *Errors
			if !errors.As(err, &refused) || len(refused.Problems) == 0 || agent != nil {
				t.Fatalf("refused with %#v and %+v", err, agent)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(refused.Problems) {
				t.Fatalf("%d problems on %d lines:\n%v", len(refused.Problems), len(lines), err)
			}
			// YAML 1.1 ends lines at each of these.
			last := 2
			for _, r := range string(data) {
				if strings.ContainsRune("\n\r\u0085\u2028\u2029", r) {
					last++
				}
			}
			for _, p := range refused.Problems {
				if p.Line < 1 || p.Line > last || p.Message == "" {
					t.Fatalf("no such line: %v", p)
				}
			}
			return
		}
		holds(t, agent)
		again, err := Decode("f", data, []string{"/mnt", "/srv"})
		if err != nil || !reflect.DeepEqual(agent, again) {
			t.Fatalf("accepted as %+v, and then as %+v, %v", agent, again, err)
		}
		roundTrips(t, data, agent)
	})
}

// roundTrips: what was accepted says the same when it is written anew, without
// the author's quotes, comments and order of lines.
func roundTrips(t *testing.T, data []byte, want *Agent) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(&doc)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode("f", text, []string{"/mnt", "/srv"})
	if err != nil {
		t.Fatalf("written anew it is refused: %v\n%s", err, text)
	}
	plain := func(a *Agent) Agent {
		out := *a
		out.Classes = slices.Clone(a.Classes)
		for i := range out.Classes {
			out.Classes[i].Line = 0
		}
		out.Pools = slices.Clone(a.Pools)
		for i := range out.Pools {
			out.Pools[i].Line = 0
		}
		return out
	}
	if !reflect.DeepEqual(plain(got), plain(want)) {
		t.Fatalf("written anew it says %+v, not %+v:\n%s", plain(got), plain(want), text)
	}
}

// holds states the rules anew, in the plainest way.
func holds(t *testing.T, a *Agent) {
	if len(a.Classes)+len(a.Pools) == 0 || a.RescanInterval < MinRescanInterval {
		t.Fatalf("accepted %+v", a)
	}
	names := map[string]bool{}
	for i, c := range a.Classes {
		if names[c.Name] || c.Name == "" || c.NamePattern == "" || c.VolumeMode == "" || c.AccessMode == "" || c.Line < 1 {
			t.Fatalf("accepted class %+v", c)
		}
		names[c.Name] = true
		if !beneath(c.MountDir, "/mnt") && !beneath(c.MountDir, "/srv") {
			t.Fatalf("accepted mountDir %q", c.MountDir)
		}
		if (c.ReadOnly || c.Shared || c.FSType != "") && c.VolumeMode == Block || c.ReadOnly && c.AccessMode != ReadOnlyMany {
			t.Fatalf("accepted class %+v", c)
		}
		for _, dir := range []string{c.HostDir, c.MountDir} {
			if dir == "/" || filepath.Clean(dir) != dir || !filepath.IsAbs(dir) || beneath(dir, "/dev") && !beneath(dir, "/dev/disk") && !beneath(dir, "/dev/mapper") || dir == "/dev/disk" || beneath("/var/lib/kubelet", dir) {
				t.Fatalf("accepted directory %q", dir)
			}
			for _, other := range a.Classes[:i] {
				if other.HostDir == c.HostDir && other.MountDir == c.MountDir {
					continue // each spells out its namePattern
				}
				for _, its := range []string{other.HostDir, other.MountDir} {
					if beneath(dir, its) || beneath(its, dir) {
						t.Fatalf("accepted %q beside %q", dir, its)
					}
				}
			}
		}
	}
	holdsPools(t, a)
	for key := range a.Labels {
		if strings.HasPrefix(key, "berth.storage/") || strings.ContainsAny(key, " \n") {
			t.Fatalf("accepted label %q", key)
		}
	}
}

func beneath(p, dir string) bool {
	rel, err := filepath.Rel(dir, p)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}
