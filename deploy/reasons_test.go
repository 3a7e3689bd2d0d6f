package deploy

import (
	"os"
	"regexp"
	"testing"
)

// TestEveryReasonIsExplained: docs/troubleshooting.md has a row for the reason of
// each event that Berth writes.
func TestEveryReasonIsExplained(t *testing.T) {
	source, err := os.ReadFile("../api/api.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	reasons := regexp.MustCompile(`(?m)^\tReason\w+ += "(\w+)"$`).FindAllSubmatch(source, -1)
	if len(reasons) < 10 {
		t.Fatalf("only %d reasons are found", len(reasons))
	}
	for _, r := range reasons {
		if !regexp.MustCompile("(?m)^\\| `" + string(r[1]) + "` \\|").Match(page) {
			t.Errorf("docs/troubleshooting.md does not explain %s", r[1])
		}
	}
}
