package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestTable: each change still has its place in the code, each guarantee has
// one, and ARCHITECTURE.md names the test beside the guarantee.
func TestTable(t *testing.T) {
	t.Chdir("../..")
	page, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(page)) {
		if number, text, ok := strings.Cut(strings.TrimPrefix(line, "| "), ". "); ok && strings.HasPrefix(line, "| ") {
			rows[number] = text
		}
	}
	seen := map[int]bool{}
	for _, m := range mutants {
		seen[m.guarantee] = true
		if _, err := m.mutated("."); err != nil {
			t.Errorf("guarantee %d: %v", m.guarantee, err)
		}
		if row := rows[strconv.Itoa(m.guarantee)]; !strings.Contains(row, "`"+m.test+"`") {
			t.Errorf("ARCHITECTURE.md does not name %s beside guarantee %d", m.test, m.guarantee)
		}
	}
	for g := 1; g <= 10; g++ {
		if !seen[g] {
			t.Errorf("guarantee %d has no change", g)
		}
	}
}

// TestTry: a change that is noticed, one that is not, and what cannot be tried.
func TestTry(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to string
		test     string
		noticed  bool
		err      string
	}{
		{"noticed", "a + b", "a - b", "TestAdd", true, ""},
		{"not noticed", "a + b", "b + a", "TestAdd", false, ""},
		{"another test", "a + b", "a - b", "TestNothing", false, ""},
		{"no such test", "a + b", "a - b", "TestGone", false, "no tests to run"},
		{"does not compile", "a + b", "a +", "TestAdd", false, "with the change"},
		{"no such place", "a * b", "a", "TestAdd", false, "0 times"},
		{"fails anyhow", "a + b", "a - b", "TestFails", false, "without the change"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := t.TempDir()
			if err := os.CopyFS(tree, os.DirFS("testdata/sample")); err != nil {
				t.Fatal(err)
			}
			m := mutant{1, "adds wrong", "sample.go", c.from, c.to, ".", "", c.test}
			noticed, err := m.try(t.Context(), tree)
			if noticed != c.noticed || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("noticed: %v, error: %v", noticed, err)
			}
		})
	}
}
