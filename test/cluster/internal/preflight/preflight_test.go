package preflight

import (
	"slices"
	"strings"
	"testing"
)

// good is a machine that can run the cluster, cold.
func good() Facts {
	return Facts{
		OS: "linux", Root: true, Go: "go1.26.8", Kernel: needed, Namespaces: neededNamespaces, Loop: true,
		ClusterDir: "/src/.cluster", CacheDir: "/root/.cache/berth",
		ClusterFree: 100 * gib, CacheFree: 100 * gib, Memory: 8 * gib,
	}
}

func TestProblems(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(*Facts)
		warm bool
		want []string // a part of each problem's text
	}{
		{name: "good", make: func(*Facts) {}},
		{name: "not Linux", make: func(f *Facts) { *f = Facts{OS: "darwin"} }, want: []string{"this is darwin"}},
		{name: "not root", make: func(f *Facts) { f.Root = false }, want: []string{"you are not root: run it with sudo"}},
		{name: "no Go", make: func(f *Facts) { f.Go = "" }, want: []string{"there is no Go: install Go 1.26"}},
		{name: "old Go", make: func(f *Facts) { f.Go = "go1.9.1" }, want: []string{"Go is go1.9.1: install Go 1.26"}},
		{name: "newer Go", make: func(f *Facts) { f.Go = "go1.30" }},
		{name: "no xfs", make: func(f *Facts) {
			f.Kernel = slices.DeleteFunc(slices.Clone(needed), func(k string) bool { return k == "xfs" })
		}, want: []string{"the kernel has no xfs: install"}},
		{name: "no loop devices", make: func(f *Facts) { f.Loop = false }, want: []string{"no /dev/loop-control: load the module"}},
		{name: "no namespaces", make: func(f *Facts) { f.Namespaces = []string{"ipc", "mnt", "net", "uts"} },
			want: []string{"no pid namespaces"}},
		{name: "no memory controller", make: func(f *Facts) { f.Controllers = []string{"memory"} },
			want: []string{"cgroup controllers are missing: memory: mount them, or boot with cgroup_enable=memory"}},
		{name: "full cluster disk", make: func(f *Facts) { f.ClusterFree = gib },
			want: []string{"only 1.0 GiB are free for /src/.cluster: free some, or choose another place with --dir"}},
		{name: "full cache disk", make: func(f *Facts) { f.CacheFree = 2 * gib },
			want: []string{"only 2.0 GiB are free for /root/.cache/berth: free some, or choose another place with XDG_CACHE_HOME"}},
		{name: "warm cache on a small disk", make: func(f *Facts) { f.CacheFree = 2 * gib }, warm: true},
		{name: "one disk for both", make: func(f *Facts) { f.SameFilesystem, f.ClusterFree, f.CacheFree = true, 11*gib, 11*gib },
			want: []string{"only 11.0 GiB are free for /src/.cluster and /root/.cache/berth: free some"}},
		{name: "little memory", make: func(f *Facts) { f.Memory = gib }, warm: true, want: []string{"only 1.0 GiB of memory"}},
		{name: "everything at once", make: func(f *Facts) { f.Root, f.Go, f.Loop = false, "", false },
			want: []string{"not root", "no Go", "loop-control"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := good()
			test.make(&f)
			err := Check(f, !test.warm)
			if len(test.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			lines := strings.Split(err.Error(), "\n")
			if !strings.Contains(lines[0], "nothing was changed") {
				t.Errorf("the first line is %q", lines[0])
			}
			if len(lines)-1 != len(test.want) {
				t.Fatalf("%d problems, want %d:\n%v", len(lines)-1, len(test.want), err)
			}
			for i, want := range test.want {
				if !strings.Contains(lines[i+1], want) {
					t.Errorf("problem %q does not say %q", lines[i+1], want)
				}
			}
		})
	}
}

// Reading the machine must not fail anywhere; what it finds differs.
func TestMachine(t *testing.T) {
	f := Machine(t.TempDir()+"/not/there", t.TempDir())
	if f.OS == "" || f.Go == "" || f.ClusterFree == 0 || f.CacheFree == 0 || f.Memory == 0 || !f.SameFilesystem {
		t.Errorf("facts are missing: %+v", f)
	}
}
