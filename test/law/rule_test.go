package law

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

func load(t *testing.T) graph {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing packages: %v\n%s", err, &stderr)
	}
	g := graph{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&pkg); errors.Is(err, io.EOF) {
			return g
		} else if err != nil {
			t.Fatal(err)
		}
		g[pkg.ImportPath] = pkg.Imports
	}
}

func TestImportLaw(t *testing.T) {
	g := load(t)
	for _, r := range rules {
		bound := 0
		for pkg := range g {
			if strings.HasPrefix(pkg, module) && r.binds(pkg) {
				bound++
			}
		}
		t.Logf("%s: binds %d packages", r.name, bound)
		for _, violation := range r.broken(g) {
			t.Error(violation)
		}
	}
	for pkg := range g {
		if strings.HasPrefix(pkg, module+"/internal/") && !placed(pkg) {
			t.Errorf("%s has no place in the law: name it in a rule or among the joints, after the design", pkg)
		}
	}
}

func placed(pkg string) bool {
	for _, r := range rules {
		if !r.general() && r.binds(pkg) {
			return true
		}
	}
	return matches(joints, pkg)
}

// The law itself is tried on trees that break it: each rule has to catch its case.
func TestImportLawCatches(t *testing.T) {
	const m = module + "/"
	for _, c := range []struct {
		rule string
		g    graph
		want string
	}{
		{"knows nothing of Kubernetes", graph{m + "internal/wipe": {m + "internal/x"}, m + "internal/x": {"k8s.io/api/core/v1"}}, "internal/wipe → " + m + "internal/x → k8s.io/api/core/v1"},
		{"knows nothing of Kubernetes", graph{m + "internal/pool/lvm": {"sigs.k8s.io/yaml"}}, "internal/pool/lvm → sigs.k8s.io/yaml"},
		{"the plugin cannot", graph{m + "cmd/kubectl-berth": {m + "internal/check"}, m + "internal/check": {m + "internal/host/mount"}}, "cmd/kubectl-berth → "},
		{"the controller cannot", graph{m + "internal/recovery": {m + "internal/host"}}, "internal/recovery → "},
		{"who carries a command", graph{m + "internal/control": {m + "internal/x"}, m + "internal/x": {m + "internal/wipe"}}, "internal/control → " + m + "internal/x → " + m + "internal/wipe"},
		{"only cmd/berth commands", graph{m + "cmd/kubectl-berth": {m + "internal/control"}}, "cmd/kubectl-berth → " + m + "internal/control"},
		{"facts stand alone", graph{m + "internal/disk": {"io/fs", m + "api"}}, "internal/disk → " + m + "api"},
		{"names stand alone", graph{m + "deploy": {m + "internal/config"}}, "deploy → "},
		{"only cmd/berth", graph{m + "internal/csi": {m + "internal/agent"}}, "internal/csi → "},
		{"nothing stands on", graph{m + "internal/csi": {m + "test/law"}}, "internal/csi → "},
	} {
		var found []string
		for _, r := range rules {
			if strings.Contains(r.name, c.rule) {
				found = append(found, r.broken(c.g)...)
			}
		}
		if all := strings.Join(found, "\n"); !strings.Contains(all, c.want) {
			t.Errorf("%s: %v found %q, want %q", c.rule, c.g, all, c.want)
		}
	}
	innocent := graph{
		m + "cmd/berth":             {m + "internal/agent"},
		m + "internal/agent":        {m + "internal/host", "k8s.io/api/core/v1", m + "internal/agent/x"},
		m + "internal/hostess":      {"fmt"},
		m + "internal/diskette":     {m + "api"},
		"k8s.io/client-go/rest":     {"k8s.io/api/core/v1"},
		"example.com/internal/disk": {m + "api"},
	}
	for _, r := range rules {
		if found := r.broken(innocent); found != nil {
			t.Errorf("%s: found %v in an innocent tree", r.name, found)
		}
	}
	if placed(m+"internal/util") || !placed(m+"internal/disk") || !placed(m+"internal/csi") {
		t.Error("a package that nobody thought of has a place, or one of the design has none")
	}
}
