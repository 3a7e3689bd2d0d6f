package part

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../../../.."

func TestPartsOfThisTree(t *testing.T) {
	parts, err := Parts(root)
	if err != nil {
		t.Fatal(err)
	}
	b := &Builder{Root: root, Cache: t.TempDir(), Go: "go version go1.26.8 linux/amd64"}
	programs := map[string]bool{}
	for _, p := range parts {
		paths, err := b.Paths(p)
		if err != nil {
			t.Fatal(err)
		}
		for name := range paths {
			if programs[name] {
				t.Errorf("two parts make %s", name)
			}
			programs[name] = true
		}
		// A part without sums would resolve versions anew.
		if _, err := os.Stat(filepath.Join(dir(root, p.Name), "go.sum")); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{
		"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl",
		"containerd", "containerd-shim-runc-v2", "ctr", "helm",
	} {
		if !programs[name] {
			t.Errorf("no part makes %s", name)
		}
	}
}

func TestKubernetesVersion(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"module x\n\nrequire k8s.io/kubernetes v1.37.2\n", "v1.37.2"},
		{"module x\n\nrequire (\n\tk8s.io/klog/v2 v2.1.0\n\tk8s.io/kubernetes v1.38.0-rc.1\n)\n", "v1.38.0-rc.1"},
		{"module k8s.io/kubernetes\n", ""},
	} {
		tree := t.TempDir()
		write(t, filepath.Join(dir(tree, "kubernetes"), "go.mod"), test.text)
		got, err := KubernetesVersion(tree)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("in %q the version is %q, %v; want %q", test.text, got, err, test.want)
		}
	}
}

// Whatever a part is built from changes its key; nothing else does.
func TestKey(t *testing.T) {
	tree := t.TempDir()
	p := Part{Name: "etcd", Programs: []string{"."}, Tags: "a", LDFlags: "-X a=b", source: "main.go"}
	at := func(name string) string { return filepath.Join(dir(tree, "etcd"), name) }
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		write(t, at(name), name)
	}
	b := &Builder{Root: tree, Cache: "/cache", Go: "go1.26.8"}
	seen := map[string]string{}
	look := func(what string, b *Builder, p Part) {
		t.Helper()
		d, err := b.Dir(p)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(d, "/cache/etcd-") {
			t.Errorf("the directory is %s", d)
		}
		if other, ok := seen[d]; ok {
			t.Errorf("%s gives the same key as %s", what, other)
		}
		seen[d] = what
	}
	look("the part itself", b, p)
	q := p
	q.Tags = "b"
	look("another tag", b, q)
	q = p
	q.LDFlags = "-X a=c"
	look("another flag", b, q)
	q = p
	q.Programs = []string{"./cmd"}
	look("another program", b, q)
	look("another Go", &Builder{Root: tree, Cache: "/cache", Go: "go1.27"}, p)
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		write(t, at(name), name+" changed")
		look("another "+name, b, p)
	}
	write(t, at("README.md"), "words")
	if d, _ := b.Dir(p); seen[d] != "another main.go" {
		t.Error("a file that is not built from changes the key")
	}
}

func TestFollow(t *testing.T) {
	var events []Event
	b := &Builder{Report: func(e Event) { events = append(events, e) }}
	rest := b.follow("etcd", 7, strings.NewReader(
		"go: downloading example.com/m v1.0.0\ninternal/cpu\nexample.com/m\n# example.com/m\nm.go:1:2: syntax error\n"))
	if want := "# example.com/m\nm.go:1:2: syntax error"; rest != want {
		t.Errorf("what a failed build said is %q, want %q", rest, want)
	}
	if len(events) != 3 || events[0].Text != "downloading example.com/m v1.0.0" || events[2].Done != 2 || events[2].Total != 7 {
		t.Errorf("events are %+v", events)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
