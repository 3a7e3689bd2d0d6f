package main

import (
	"io"
	"os"
	"strings"
	"testing"
)

// run is the command with arguments; no cluster is there.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	cmd := newCommand(&out)
	cmd.SetErr(io.Discard)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestWithoutCluster(t *testing.T) {
	dir := t.TempDir() + "/none"
	if out, err := run(t, "down", "--dir", dir); err != nil || !strings.HasPrefix(out, "no cluster in ") {
		t.Errorf("down says %q, %v", out, err)
	}
	for _, args := range [][]string{
		{"status"}, {"node", "stop", "node-1"}, {"node", "add"}, {"disk", "remove", "node-1", "x"},
		{"disk", "add", "node-1", "--name", "x"}, {"exec", "node-1", "--", "true"}, {"image", "build"},
	} {
		_, err := run(t, append(args, "--dir", dir)...)
		if len(args) > 3 && args[0] == "exec" {
			_, err = run(t, append([]string{"--dir", dir}, args...)...)
		}
		if err == nil || !strings.Contains(err.Error(), "start one with `cluster up`") {
			t.Errorf("%v says %v", args, err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made")
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{"512Mi": 512 << 20, "1Gi": 1 << 30, "4Ki": 4096, "1048576": 1 << 20} {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("%s is %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "Mi", "1M", "-1Mi", "1.5Gi", "99999999999999999999"} {
		if got, err := parseSize(s); err == nil {
			t.Errorf("%s is %d", s, got)
		}
	}
}

func TestHelpNamesEveryVerb(t *testing.T) {
	out, err := run(t, "--help")
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"build", "up", "down", "status", "node", "disk", "image", "exec", "logs"} {
		if !strings.Contains(out, "\n  "+verb) {
			t.Errorf("the help does not name %s:\n%s", verb, out)
		}
	}
	if strings.Contains(out, "supervise") {
		t.Error("the help names a process that is not for people")
	}
}
