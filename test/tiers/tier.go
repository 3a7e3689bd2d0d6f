package main

import (
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tier is a set of tests with the same needs.
type tier struct {
	name string
	// tag is the build tag of the tier's files. The tier without one is every
	// test that needs nothing.
	tag string
	// flags are for go test. Only the results of pure tests may come from its
	// cache: the others depend on the machine.
	flags []string
	// slow tiers tell of every test as it ends, and of those that take long.
	slow bool
	// ownMounts gives the tests a mount namespace.
	ownMounts bool
	// before is the arguments of go that prepare the machine, as root.
	before []string
	// exec is the program that runs the tests' binaries, if go itself does not.
	exec string
}

// tiers, cheapest first.
var tiers = []tier{
	{name: "pure", flags: []string{"-timeout=5m"}},
	{name: "script", tag: "script", flags: []string{"-count=1", "-timeout=10m"}},
	{name: "root", tag: "root", flags: []string{"-count=1", "-p=1", "-timeout=10m"}, ownMounts: true,
		before: []string{"run", "-C", "test/cluster", "./cmd/cluster", "packages"}},
	{name: "vm", tag: "vm", flags: []string{"-count=1", "-p=2", "-timeout=2h"}, slow: true,
		before: []string{"run", "-C", "test/cluster", "./cmd/cluster", "packages", "--vm"},
		exec:   "go run github.com/berth-storage/berth/test/vm/cmd/vmexec"},
	{name: "cluster", tag: "cluster", flags: []string{"-count=1", "-p=1", "-timeout=30m"}, slow: true},
}

// modules are the folders of the Go modules with tests.
var modules = []string{".", "test/cluster"}

// command is the arguments of go that run the tier's tests in a module, or nil
// when it has none.
func (t tier) command(root, module string) ([]string, error) {
	dir := filepath.Join(root, module)
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		return nil, fmt.Errorf("looking for module: %w", err)
	}
	args := []string{"test", "-C", module, "-json"}
	args = append(args, t.flags...)
	if t.tag == "" {
		return append(args, "./..."), nil
	}
	packages, names, err := tagged(dir, t.tag)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	if t.exec != "" {
		args = append(args, "-exec="+t.exec)
	}
	// The package's untagged tests belong to another tier and are not run twice.
	args = append(args, "-tags="+t.tag, "-run=^("+strings.Join(names, "|")+")$")
	return append(args, packages...), nil
}

// tagged finds the tests in files that are built only with a tag: the packages
// with such files, and the names of the tests.
func tagged(module, tag string) (packages, names []string, err error) {
	err = filepath.WalkDir(module, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && file != module {
			_, err := os.Stat(filepath.Join(file, "go.mod"))
			if err == nil || name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
				return fs.SkipDir
			}
		}
		if entry.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		tests, err := testsOf(file, tag)
		if err != nil || len(tests) == 0 {
			return err
		}
		rel, err := filepath.Rel(module, filepath.Dir(file))
		packages = append(packages, "./"+path.Clean(filepath.ToSlash(rel)))
		names = append(names, tests...)
		return err
	})
	slices.Sort(packages)
	slices.Sort(names)
	return slices.Compact(packages), slices.Compact(names), err
}

// testsOf is the names of the tests in a file, when it needs the tag.
func testsOf(name, tag string) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("reading tests: %w", err)
	}
	if !needs(file, tag) {
		return nil, nil
	}
	var tests []string
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && isTest(f.Name.Name) {
			tests = append(tests, f.Name.Name)
		}
	}
	return tests, nil
}

// needs reports whether a file is built only with the tag.
func needs(file *ast.File, tag string) bool {
	for _, group := range file.Comments {
		if group.Pos() >= file.Package {
			return false
		}
		for _, comment := range group.List {
			expr, err := constraint.Parse(comment.Text)
			if constraint.IsGoBuild(comment.Text) && err == nil {
				return turns(expr, tag)
			}
		}
	}
	return false
}

// turns reports whether a constraint is met with the tag and not without it,
// be the other tags (the platform's among them) all there or none.
func turns(expr constraint.Expr, tag string) bool {
	for _, others := range []bool{true, false} {
		met := func(is bool) bool {
			return expr.Eval(func(t string) bool { return t == tag && is || t != tag && others })
		}
		if met(true) && !met(false) {
			return true
		}
	}
	return false
}

// isTest follows go test: what comes after the prefix does not begin with a
// lower-case letter.
func isTest(name string) bool {
	for _, prefix := range []string{"Test", "Fuzz"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && name != "TestMain" {
			first, _ := utf8.DecodeRuneInString(rest)
			return rest == "" || !unicode.IsLower(first)
		}
	}
	return false
}
