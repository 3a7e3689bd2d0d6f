package host

import (
	"bytes"
	"fmt"
	"strings"
)

const (
	// lineBytes is how much of a line is kept: enough for any message, and not
	// too much for a log.
	lineBytes = 1024
	// lastLines is how many lines an error tells.
	lastLines = 5
)

// lines is a writer that takes a program's output apart, holding a line and the
// last few of those before.
type lines struct {
	each func(line string) // may be nil
	line []byte            // of the one that is not complete
	cut  bool              // more of it came than is kept
	last []string
}

// Write implements io.Writer. It never fails, as that would end the program.
func (l *lines) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		end := bytes.IndexAny(rest, "\r\n")
		part := rest
		if end >= 0 {
			part = rest[:end]
		}
		room := lineBytes - len(l.line)
		l.cut = l.cut || len(part) > room
		l.line = append(l.line, part[:min(len(part), room)]...)
		if end < 0 {
			break
		}
		l.close()
		rest = rest[end+1:]
	}
	return len(p), nil
}

// close ends a line. Empty ones are left out.
func (l *lines) close() {
	line := strings.TrimSpace(strings.ToValidUTF8(string(l.line), "\uFFFD"))
	if l.cut {
		line += " …"
	}
	l.line, l.cut = l.line[:0], false
	if line == "" {
		return
	}
	if len(l.last) == lastLines {
		l.last = append(l.last[:0], l.last[1:]...)
	}
	l.last = append(l.last, line)
	if l.each != nil {
		l.each(line)
	}
}

// explain adds the last lines to an error.
func (l *lines) explain(err error) error {
	if len(l.last) == 0 {
		return fmt.Errorf("%w, without output", err)
	}
	return fmt.Errorf("%w; its last output: %s", err, strings.Join(l.last, " | "))
}
