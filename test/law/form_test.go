package law

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A file longer than longest is refused; one longer than long is listed.
const (
	long    = 400
	longest = 600
)

// source is one Go file of the tree, of any module and with any build tag.
type source struct {
	path string // from the root of the tree
	file *ast.File
	data []byte
}

func sources(t *testing.T) []source {
	t.Helper()
	const root = "../.."
	var list []source
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, data, parser.ParseComments|parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		list = append(list, source{rel, file, data})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		t.Fatal("found no Go files")
	}
	return list
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	said := map[string]bool{}
	for _, s := range sources(t) {
		dir := filepath.Dir(s.path)
		said[dir] = said[dir] || s.file.Doc != nil && strings.TrimSpace(s.file.Doc.Text()) != ""
	}
	for dir, ok := range said {
		if !ok {
			t.Errorf("%s: no package comment; it says what the package does and does not do", dir)
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, s := range sources(t) {
		n := bytes.Count(s.data, []byte("\n"))
		switch {
		case ast.IsGenerated(s.file):
		case n > longest:
			t.Errorf("%s: %d lines; allowed: %d", s.path, n, longest)
		case n > long:
			t.Logf("%s: %d lines; can it be two files?", s.path, n)
		}
	}
}

// The cluster's module may know Berth only as its users do. Its imports are
// read from its files, so that nobody has to download Kubernetes to check them.
func TestClusterImportsOnlyNamesAndDeploy(t *testing.T) {
	const cluster = module + "/test/cluster"
	files := 0
	for _, s := range sources(t) {
		if !strings.HasPrefix(s.path, "test/cluster/") {
			continue
		}
		files++
		for _, spec := range s.file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if matches([]string{own}, path) && !matches([]string{"api", "deploy", cluster + "/..."}, path) {
				t.Errorf("%s imports %s; allowed: %s/api and %[3]s/deploy", s.path, path, module)
			}
		}
	}
	if files == 0 {
		t.Error("found no files in test/cluster")
	}
}
