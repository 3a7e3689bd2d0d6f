package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestStep(t *testing.T) {
	for _, c := range []struct {
		step step
		ok   bool
		want []string
	}{
		{step{name: "good", args: []string{"echo", "chatter"}}, true, []string{"ok    good "}},
		{step{name: "bad", args: []string{"sh", "-c", "echo why >&2; exit 3"}, hint: "make fmt"}, false, []string{"FAIL  bad ", "exit status 3\nwhy\n", "to mend it: make fmt\n"}},
		{step{name: "listing", args: []string{"echo", "main.go"}, silent: true}, false, []string{"echo printed\nmain.go\n"}},
		{step{name: "quiet", args: []string{"true"}, silent: true}, true, []string{"ok    quiet "}},
		{step{name: "no such", args: []string{"no-such-program"}}, false, []string{"FAIL  no such "}},
		{step{name: "absent", args: []string{"true"}, needs: "no/such/file"}, false, []string{"no/such/file is missing\n"}},
		{step{name: "present", args: []string{"true"}, needs: "step.go"}, true, []string{"ok    present "}},
	} {
		var out bytes.Buffer
		if ok := c.step.run(t.Context(), &out); ok != c.ok {
			t.Errorf("%s: %v, want %v", c.step.name, ok, c.ok)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s printed\n%s\nwithout %q", c.step.name, &out, want)
			}
		}
		if c.ok && strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s passed and printed\n%s", c.step.name, &out)
		}
	}
}
