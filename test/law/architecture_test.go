package law

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestGuaranteesNameTests: each test that ARCHITECTURE.md names exists, and
// each guarantee that is there names one.
func TestGuaranteesNameTests(t *testing.T) {
	page, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, s := range sources(t) {
		if strings.HasSuffix(s.path, "_test.go") {
			all = append(all, s.data...)
		}
	}
	named := 0
	for _, m := range regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllSubmatch(page, -1) {
		named++
		if !bytes.Contains(all, []byte("\nfunc "+string(m[1])+"(t *testing.T)")) {
			t.Errorf("ARCHITECTURE.md names %s, which is not a test", m[1])
		}
	}
	if named == 0 {
		t.Error("ARCHITECTURE.md names no test")
	}
	rows := regexp.MustCompile(`(?m)^\| (\d+)\. .*$`).FindAllSubmatch(page, -1)
	if len(rows) != 10 {
		t.Errorf("ARCHITECTURE.md has %d guarantees, not 10", len(rows))
	}
	for _, row := range rows {
		if line := string(row[0]); !strings.Contains(line, "`Test") && !strings.Contains(line, "| not yet:") {
			t.Errorf("guarantee %s names no test, and does not say that it is not yet there", row[1])
		}
	}
}
