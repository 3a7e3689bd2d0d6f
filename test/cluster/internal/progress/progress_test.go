package progress

import (
	"strings"
	"testing"
	"time"
)

// clock is moved by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) forward(d time.Duration) { c.t = c.t.Add(d) }

func TestPlainLines(t *testing.T) {
	var out strings.Builder
	c := &clock{time.Unix(1000, 0)}
	l := newLine(&out, false, c.now, []string{"build etcd", "build kubernetes", "start"})
	l.Step()
	c.forward(5 * time.Second)
	l.refresh()
	l.Step()
	l.Detail("%d of at most %d packages", 10, 2000)
	c.forward(29 * time.Second)
	l.refresh() // still quiet
	c.forward(50 * time.Second)
	l.refresh()
	l.StepTo("start")
	l.StepTo("build etcd") // behind
	l.StepTo("nowhere")
	c.forward(1500 * time.Millisecond)
	l.Close(false)
	want := `[1/3] build etcd  (left: build kubernetes, start) …
[1/3] build etcd  5.0 s
[2/3] build kubernetes  (left: start) …
[2/3] build kubernetes  1 min 19 s  10 of at most 2000 packages  (left: start)
[2/3] build kubernetes  1 min 19 s
[3/3] start …
[3/3] start  1.5 s
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestTerminalLine(t *testing.T) {
	var out strings.Builder
	c := &clock{time.Unix(1000, 0)}
	l := newLine(&out, true, c.now, []string{"a long step that has a name of some length", "another step, so that the line is too long"})
	l.refresh() // nothing to tell yet
	l.Step()
	c.forward(90 * time.Second)
	l.refresh()
	line := out.String()
	const clear = "\r\x1b[K"
	if !strings.HasPrefix(line, clear+"[1/2] a long step") || !strings.Contains(line, "1 min 30 s") {
		t.Errorf("the line is %q", line)
	}
	if n := len([]rune(strings.TrimPrefix(line, clear))); n >= 80 || !strings.HasSuffix(line, "…") {
		t.Errorf("the line has %d characters and is %q; want it cut under 80", n, line)
	}
	if strings.Contains(line, "\n") {
		t.Error("the line has ended before its step")
	}
	out.Reset()
	l.Close(true)
	if out.String() != "\n" {
		t.Errorf("after a failure it says %q", out.String())
	}
}

func TestStepsBeyondTheLast(t *testing.T) {
	var out strings.Builder
	l := newLine(&out, false, time.Now, []string{"one"})
	l.Step()
	l.Step()
	l.Step()
	l.Close(false)
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d lines, want 2:\n%s", n, out.String())
	}
}
