package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// teller prints the story: a line for each thing that happened, with the
// seconds it took, and on a terminal one more line that says what goes on.
type teller struct {
	out      io.Writer
	terminal bool

	mu    sync.Mutex // guards all below
	begun time.Time
	doing string
}

// indent is the width of the column with the seconds, width that of the whole.
const (
	indent = 10
	width  = 100
)

func newTeller(out io.Writer) *teller {
	t := &teller{out: out}
	if f, ok := out.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		t.terminal = err == nil
	}
	return t
}

// run keeps the line that says what goes on up to date until done is closed.
func (t *teller) run(done <-chan struct{}) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			t.mu.Lock()
			if t.terminal && t.doing != "" {
				fmt.Fprintf(t.out, "\r\x1b[K%6.1f s  … %s", time.Since(t.begun).Seconds(), t.doing)
			}
			t.mu.Unlock()
		}
	}
}

// begin starts the clock of the next line.
func (t *teller) begin(doing string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun, t.doing = time.Now(), doing
}

// tell prints what was begun, now that it has happened and was checked. A text
// of several lines is indented.
func (t *teller) tell(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
	fmt.Fprintf(t.out, "%6.1f s  %s\n", time.Since(t.begun).Seconds(), indented(fmt.Sprintf(format, args...)))
}

// note prints a line below the last one.
func (t *teller) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
	fmt.Fprintf(t.out, "%*s%s\n", indent, "", indented(fmt.Sprintf(format, args...)))
}

// stop takes the line that says what goes on away.
func (t *teller) stop() (doing string, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	doing = t.doing
	t.clear()
	return doing, time.Since(t.begun)
}

// clear must be called with the lock held.
func (t *teller) clear() {
	if t.terminal && t.doing != "" {
		fmt.Fprint(t.out, "\r\x1b[K")
	}
	t.doing = ""
}

// indented puts each line of text but the first below the seconds' column, and
// breaks what is too long at its last space.
func indented(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		for len(line) > width-indent {
			at := strings.LastIndexByte(line[:width-indent+1], ' ')
			if at <= 0 {
				break
			}
			lines, line = append(lines, line[:at]), line[at+1:]
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"+strings.Repeat(" ", indent))
}
