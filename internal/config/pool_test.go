package config

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/pool"
)

const poolHead = "apiVersion: berth.storage/v1alpha1\nkind: AgentConfig\npools:\n"

func decodePools(t *testing.T, pools string) *Agent {
	t.Helper()
	a, err := Decode("f", []byte(poolHead+pools), nil)
	if err != nil {
		t.Fatalf("%s%v", pools, err)
	}
	return a
}

// TestPoolDefaults: what may be left out, and how a reserve may be written.
func TestPoolDefaults(t *testing.T) {
	got := decodePools(t, `
- {name: a, kind: lvm, volumeGroup: vg0}
- {name: b, kind: lvm, volumeGroup: vg1, thin: {pool: p}, reserve: 10Gi}
- {name: c, kind: lvm, volumeGroup: vg1, thin: {pool: q, overprovision: 2}, reserve: 1G}
- {name: "1", kind: xfs, path: /mnt/d, reserve: 4096}
- {name: `+strings.Repeat("x", 32)+`, kind: btrfs, path: /mnt/e, reserve: 99%}
`)
	want := []Pool{
		{Name: "a", Kind: PoolLVM, VolumeGroup: "vg0", Stripes: 1, Wipe: DefaultWipe, Line: 5},
		{Name: "b", Kind: PoolLVM, VolumeGroup: "vg1", Thin: &Thin{"p", 1, 20}, Wipe: DefaultWipe, Reserve: pool.Reserve{Bytes: 10 << 30}, Line: 6},
		{Name: "c", Kind: PoolLVM, VolumeGroup: "vg1", Thin: &Thin{"q", 2, 20}, Wipe: DefaultWipe, Reserve: pool.Reserve{Bytes: 1e9}, Line: 7},
		{Name: "1", Kind: PoolXFS, Path: "/mnt/d", Reserve: pool.Reserve{Bytes: 4096}, Line: 8},
		{Name: strings.Repeat("x", 32), Kind: PoolBtrfs, Path: "/mnt/e", Reserve: pool.Reserve{Percent: 99}, Line: 9},
	}
	if !reflect.DeepEqual(got.Pools, want) {
		t.Errorf("got  %+v\nwant %+v", got.Pools, want)
	}
}

// TestMovedPools: a pool with something in it stays where it is.
func TestMovedPools(t *testing.T) {
	before := decodePools(t, `
- {name: a, kind: btrfs, path: /mnt/a}
- {name: b, kind: lvm, volumeGroup: vg0}
- {name: c, kind: lvm, volumeGroup: vg1, thin: {pool: t}}
- {name: d, kind: xfs, path: /mnt/d}
- {name: empty, kind: xfs, path: /mnt/empty}
`)
	contents := func(name string) string {
		if name == "empty" {
			return ""
		}
		return "2 volumes"
	}
	for _, c := range []struct{ now, want string }{
		{`- {name: d, kind: xfs, path: /mnt/d, reserve: 1Gi, classes: [x]}
- {name: c, kind: lvm, volumeGroup: vg1, thin: {pool: t, overprovision: 3}}
- {name: b, kind: lvm, volumeGroup: vg0, stripes: 2, wipe: {method: Zero}}
- {name: a, kind: btrfs, path: /mnt/a}
`, ""},
		{`- {name: b, kind: lvm, volumeGroup: vg9}
- {name: c, kind: lvm, volumeGroup: vg1, thin: {pool: u}}
- {name: d, kind: dir, path: /mnt/d, unenforced: true}
- {name: empty, kind: xfs, path: /mnt/elsewhere}
`, `f:4: pools: the pool "a" (btrfs at /mnt/a) is missing, and has 2 volumes; allowed: to leave it in until they are gone
f:4: pools[0].volumeGroup: the pool "b" is now volume group vg9, and has 2 volumes in volume group vg0; allowed: no change until they are gone, or another pool beside it
f:5: pools[1].thin: the pool "c" is now thin pool vg1/u, and has 2 volumes in thin pool vg1/t; allowed: no change until they are gone, or another pool beside it
f:6: pools[2].kind: the pool "d" is now dir at /mnt/d, and has 2 volumes in xfs at /mnt/d; allowed: no change until they are gone, or another pool beside it`},
		{`- {name: a, kind: btrfs, path: /mnt/aa}
- {name: b, kind: lvm, volumeGroup: vg0, thin: {pool: t}}
- {name: c, kind: lvm, volumeGroup: vg1, thin: {pool: t}}
- {name: d, kind: xfs, path: /mnt/d}
`, `f:4: pools[0].path: the pool "a" is now btrfs at /mnt/aa, and has 2 volumes in btrfs at /mnt/a; allowed: no change until they are gone, or another pool beside it
f:5: pools[1].thin: the pool "b" is now thin pool vg0/t, and has 2 volumes in volume group vg0; allowed: no change until they are gone, or another pool beside it`},
	} {
		got := ""
		if err := decodePools(t, c.now).MovedPools(before, contents, "f"); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.now, got, c.want)
		}
	}
}

// holdsPools states the rules for pools anew, in the plainest way.
func holdsPools(t *testing.T, a *Agent) {
	names := map[string]bool{}
	found := map[string]bool{}
	for _, c := range a.Classes {
		found[c.Name] = true
	}
	for i, v := range a.Pools {
		if names[v.Name] || !regexp.MustCompile(`^[-a-z0-9]{1,32}$`).MatchString(v.Name) || strings.HasPrefix(v.Name, "-") || strings.HasSuffix(v.Name, "-") || v.Line < 1 {
			t.Fatalf("accepted the name of %+v", v)
		}
		names[v.Name] = true
		lvm := v.Kind == PoolLVM
		if (v.VolumeGroup != "") != lvm || (v.Path != "") == lvm || (v.Wipe.Method != "") != lvm || v.Thin != nil && !lvm || (v.Stripes > 0) != (lvm && v.Thin == nil) || v.Unenforced != (v.Kind == PoolDir) {
			t.Fatalf("accepted for its kind %+v", v)
		}
		if v.Wipe.Job || v.Wipe.Method == WipeCommand || v.Wipe.Method == WipeSignatures || v.Reserve.Bytes < 0 || v.Reserve.Percent < 0 || v.Reserve.Percent > 99 {
			t.Fatalf("accepted %+v", v)
		}
		if v.Thin != nil && (v.Thin.Pool == "" || !(v.Thin.Overprovision >= 1 && v.Thin.Overprovision <= 100) || v.Thin.MetadataLowWater < 1 || v.Thin.MetadataLowWater > 99) {
			t.Fatalf("accepted %+v", *v.Thin)
		}
		if slices.ContainsFunc(v.Classes, func(c string) bool { return found[c] || c == "" }) {
			t.Fatalf("accepted the classes of %+v", v)
		}
		for _, o := range a.Pools[:i] {
			thin := o.Thin != nil && v.Thin != nil && o.Thin.Pool != v.Thin.Pool
			if lvm && o.Kind == PoolLVM && o.VolumeGroup == v.VolumeGroup && !thin || !lvm && o.Kind != PoolLVM && (beneath(v.Path, o.Path) || beneath(o.Path, v.Path)) {
				t.Fatalf("accepted %+v beside %+v", v, o)
			}
		}
		if lvm {
			continue
		}
		if beneath(v.Path, "/dev") || beneath("/var/lib/kubelet", v.Path) || !beneath(v.Path, "/mnt") && !beneath(v.Path, "/srv") {
			t.Fatalf("accepted the path of %+v", v)
		}
		for _, c := range a.Classes {
			for _, dir := range []string{c.HostDir, c.MountDir} {
				if beneath(v.Path, dir) || beneath(dir, v.Path) {
					t.Fatalf("accepted %+v beside %+v", v, c)
				}
			}
		}
	}
}
