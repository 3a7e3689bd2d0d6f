package helm

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree makes a work tree with Helm's module in it, and a machine without Helm.
func tree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write(t, filepath.Join(root, module, "go.mod"), "module helm\n", 0o644)
	write(t, filepath.Join(root, module, "go.sum"), "", 0o644)
	t.Setenv("HELM", "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	// Helm's module in the tree needs nothing, so a build from it fails at once.
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOPROXY", "off")
	return root
}

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// command writes a Helm of the given version.
func command(t *testing.T, path, version string) string {
	t.Helper()
	return write(t, path, "#!/bin/sh\necho "+version+"\n", 0o755)
}

func TestRoot(t *testing.T) {
	root := tree(t)
	deep := filepath.Join(root, "deploy", "gen")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := Root(deep); err != nil || got != root {
		t.Errorf("Root(%s) = %s, %v, want %s", deep, got, err, root)
	}
	if got, err := Root(t.TempDir()); err == nil {
		t.Errorf("outside a work tree: %s", got)
	}
}

func TestFind(t *testing.T) {
	quiet := func(string) {}
	t.Run("the one of $HELM", func(t *testing.T) {
		root := tree(t)
		want := command(t, filepath.Join(t.TempDir(), "helm"), "v4.3.1")
		command(t, filepath.Join(root, ".cluster/bin/helm"), "v4.3.1")
		t.Setenv("HELM", want)
		if got, err := Find(t.Context(), root, quiet); err != nil || got != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	})
	t.Run("a $HELM of another version", func(t *testing.T) {
		root := tree(t)
		t.Setenv("HELM", command(t, filepath.Join(t.TempDir(), "helm"), "v3.20.0"))
		if got, err := Find(t.Context(), root, quiet); err == nil || !strings.Contains(err.Error(), "v3.20.0") {
			t.Errorf("%s, %v", got, err)
		}
	})
	t.Run("the cluster's before that in PATH", func(t *testing.T) {
		root := tree(t)
		want := command(t, filepath.Join(root, ".cluster/bin/helm"), "v4.3")
		t.Setenv("PATH", filepath.Dir(command(t, filepath.Join(t.TempDir(), "helm"), "v4.3"))+":"+os.Getenv("PATH"))
		if got, err := Find(t.Context(), root, quiet); err != nil || got != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	})
	t.Run("one built before", func(t *testing.T) {
		root := tree(t)
		t.Setenv("PATH", filepath.Dir(command(t, filepath.Join(t.TempDir(), "helm"), "v3.20.0"))+":"+os.Getenv("PATH"))
		sum := sha256.Sum256([]byte("module helm\n"))
		want := command(t, filepath.Join(os.Getenv("XDG_CACHE_HOME"), "berth", fmt.Sprintf("helm-%x", sum[:8]), "helm"), "v4.3")
		if got, err := Find(t.Context(), root, quiet); err != nil || got != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	})
	t.Run("a build that fails leaves nothing", func(t *testing.T) {
		root := tree(t)
		t.Setenv("GOCACHE", t.TempDir())
		t.Setenv("PATH", filepath.Dir(command(t, filepath.Join(t.TempDir(), "helm"), "v3.20.0"))+":"+os.Getenv("PATH"))
		said := ""
		got, err := Find(t.Context(), root, func(line string) { said = line })
		if err == nil || !strings.Contains(err.Error(), "building helm: ") || said == "" {
			t.Errorf("%s, %v, said %q", got, err, said)
		}
		left, err := filepath.Glob(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "berth", "*", "*"))
		if err != nil || len(left) != 0 {
			t.Errorf("left %q, %v", left, err)
		}
	})
}
