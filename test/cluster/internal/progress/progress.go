// Package progress tells somebody who waits which step is under way, how long
// it has taken and what is left: on a terminal in one line that changes,
// elsewhere in plain lines, few enough for a log.
package progress

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Line shows the progress of a list of steps, done one after the other.
type Line struct {
	out      io.Writer
	terminal bool
	now      func() time.Time

	mu     sync.Mutex // guards all below
	steps  []string
	next   int // the index behind the current step
	begun  time.Time
	detail string
	shown  time.Time // when a plain line was last written
	ticker *time.Ticker
	done   chan struct{}
}

// quiet is how long a plain log stays silent during a long step.
const quiet = 30 * time.Second

// New shows the steps on out. Close it.
func New(out io.Writer, steps ...string) *Line {
	l := newLine(out, isTerminal(out), time.Now, steps)
	l.ticker, l.done = time.NewTicker(200*time.Millisecond), make(chan struct{})
	go func() {
		for {
			select {
			case <-l.ticker.C:
				l.refresh()
			case <-l.done:
				return
			}
		}
	}()
	return l
}

func newLine(out io.Writer, terminal bool, now func() time.Time, steps []string) *Line {
	return &Line{out: out, terminal: terminal, now: now, steps: steps}
}

// Step ends the current step, if there is one, and begins the next.
func (l *Line) Step() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finish()
	if l.next >= len(l.steps) {
		return
	}
	l.next++
	l.begun, l.detail, l.shown = l.now(), "", l.now()
	if !l.terminal {
		fmt.Fprintf(l.out, "%s …\n", l.text())
	}
}

// StepTo goes on to the named step, over those before it. A step that is not
// ahead, or not in the list, changes nothing.
func (l *Line) StepTo(name string) {
	for l.ahead(name) {
		l.Step()
	}
}

func (l *Line) ahead(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.steps[l.next:], name)
}

// Detail says what goes on within the step.
func (l *Line) Detail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.detail = fmt.Sprintf(format, args...)
}

// Close ends the last step. After a failure the line is left as it is.
func (l *Line) Close(failed bool) {
	if l.ticker != nil {
		l.ticker.Stop()
		close(l.done)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if failed {
		if l.terminal && l.next > 0 {
			fmt.Fprintln(l.out)
		}
		return
	}
	l.finish()
	l.next = len(l.steps)
}

func (l *Line) refresh() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun.IsZero() {
		return
	}
	switch {
	case l.terminal:
		fmt.Fprintf(l.out, "\r\x1b[K%s", cut(l.text(), columns(l.out)))
	case l.now().Sub(l.shown) >= quiet:
		l.shown = l.now()
		fmt.Fprintf(l.out, "%s\n", l.text())
	}
}

// finish writes what the current step took.
func (l *Line) finish() {
	if l.begun.IsZero() {
		return
	}
	clear := ""
	if l.terminal {
		clear = "\r\x1b[K"
	}
	fmt.Fprintf(l.out, "%s%s  %s\n", clear, l.head(), short(l.now().Sub(l.begun)))
	l.begun = time.Time{}
}

func (l *Line) head() string {
	return fmt.Sprintf("[%d/%d] %s", l.next, len(l.steps), l.steps[l.next-1])
}

// text is the current step, its time, what goes on, and what is left.
func (l *Line) text() string {
	t := l.head()
	if took := l.now().Sub(l.begun); took >= time.Second {
		t += "  " + short(took)
	}
	if l.detail != "" {
		t += "  " + l.detail
	}
	if rest := l.steps[l.next:]; len(rest) > 0 {
		t += "  (left: " + strings.Join(rest, ", ") + ")"
	}
	return t
}

func short(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
}

func cut(s string, width int) string {
	r := []rune(s)
	if width < 1 || len(r) < width {
		return s
	}
	return string(r[:width-2]) + "…"
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func columns(out io.Writer) int {
	if f, ok := out.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			return int(size.Col)
		}
	}
	return 80
}
