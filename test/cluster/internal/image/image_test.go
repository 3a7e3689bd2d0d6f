package image

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/berth-storage/berth/deploy"
)

func TestWriteIsReproducible(t *testing.T) {
	layer, err := EntryLayer([]Entry{
		{Name: "bin/", Mode: 0o755}, {Name: "bin/program", Mode: 0o755, Data: []byte("program")},
		{Name: "sh", Mode: 0o777, Link: "/bin/program"},
	})
	if err != nil {
		t.Fatal(err)
	}
	img := Image{Name: "localhost/test:1", Layers: []Layer{layer}, Config: v1.Config{Entrypoint: []string{"/bin/program"}}}
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.tar"), filepath.Join(dir, "two.tar")
	first, err := img.Write(one)
	if err != nil {
		t.Fatal(err)
	}
	second, err := img.Write(two)
	if err != nil {
		t.Fatal(err)
	}
	if first != second || !same(t, one, two) {
		t.Errorf("the same files give %s and %s", first, second)
	}
	img.Config.Entrypoint = []string{"/sh"}
	if other, err := img.Write(two); err != nil || other == first {
		t.Errorf("another entrypoint gives the digest %s, %v", other, err)
	}
	got, err := tarball.ImageFromPath(one, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := got.ConfigFile()
	if err != nil || len(config.Config.Entrypoint) != 1 || config.OS != "linux" || config.Architecture != architecture {
		t.Errorf("the image's configuration is %+v, %v", config, err)
	}
	layers, err := got.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	names := map[string]byte{}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names[h.Name] = h.Typeflag
	}
	if names["bin/"] != tar.TypeDir || names["bin/program"] != tar.TypeReg || names["sh"] != tar.TypeSymlink {
		t.Errorf("the layer holds %v", names)
	}
}

// The image answers under every path that manifests for the established static
// provisioner name, and started with no arguments it gets none.
func TestBerth(t *testing.T) {
	program := filepath.Join(t.TempDir(), "berth")
	if err := os.WriteFile(program, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	img, err := Berth("localhost/berth:dev", "root.tar", program, deploy.Links())
	if err != nil {
		t.Fatal(err)
	}
	if c := img.Config; !slices.Equal(c.Entrypoint, []string{deploy.Binary}) || len(c.Cmd) != 0 {
		t.Errorf("it starts %q %q", c.Entrypoint, c.Cmd)
	}
	r, err := img.Layers[len(img.Layers)-1]()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	links, seen := map[string]string{}, map[string]bool{".": true, "usr/local/bin": true}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Clean(h.Name)
		if !seen[filepath.Dir(name)] {
			t.Errorf("%s comes before its directory", name)
		}
		seen[name] = true
		links["/"+name] = h.Linkname
	}
	if _, ok := links[deploy.Binary]; !ok || links["/scripts/shred.sh"] == "" {
		t.Errorf("the layer holds %v", links)
	}
	for _, link := range deploy.Links() {
		if links[link] != deploy.Binary {
			t.Errorf("%s links to %q, want %s", link, links[link], deploy.Binary)
		}
	}
}

// The name of the archive changes with what it is made of, not with the order
// in which the packages are named.
func TestDebianPath(t *testing.T) {
	path := func(packages ...string) string {
		p, err := Debian{Cache: "/cache", Packages: packages}.Path()
		if err != nil {
			t.Skip(err)
		}
		return p
	}
	if path("a", "b") != path("b", "a") || path("a", "b") != path("a", "b", "a") {
		t.Error("the order of packages changes the name")
	}
	if path("a", "b") == path("a") {
		t.Error("another package does not change the name")
	}
}

func same(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(x) == string(y)
}
