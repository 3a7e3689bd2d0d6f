package main

import (
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/slogtest"
	"time"
)

func TestLogLine(t *testing.T) {
	at := time.Date(2026, 1, 2, 16, 4, 5, 6e6, time.FixedZone("", 3600))
	for _, c := range []struct {
		message string
		args    []any
		want    string
	}{
		{`path "/mnt/disks/vol 1" is not a valid mount point: it is a plain directory`, []any{"reason", "EntryRefused"},
			`path "/mnt/disks/vol 1" is not a valid mount point: it is a plain directory reason=EntryRefused`},
		{"a", []any{"n", 1, "d", 2 * time.Second, "b", true, "nil", nil}, "a n=1 d=2s b=true nil=<nil>"},
		{"a", []any{"empty", "", "space", "x y", "equals", "x=y", "quote", `x"y`, "err", errors.New("x\ny")}, `a empty="" space="x y" equals="x=y" quote="x\"y" err="x\ny"`},
		{"two\nlines\r\x1b[31m\u202e\u0085\u2028 \xff é", nil, `two\nlines\r\x1b[31m\u202e\u0085\u2028 \xff é`},
		{"a", []any{"k\nk", "\x00"}, `a "k\nk"="\x00"`},
		{"a", []any{slog.Group("g", "x", 1, slog.Group("h", "y", 2))}, "a g.x=1 g.h.y=2"},
	} {
		var b strings.Builder
		r := slog.NewRecord(at, slog.LevelWarn, c.message, 0)
		r.Add(c.args...)
		if err := newLineHandler(&b, slog.LevelInfo).Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if want := "2026-01-02T15:04:05.006Z WARN " + c.want + "\n"; b.String() != want {
			t.Errorf("got  %qwant %q", b.String(), want)
		}
	}
}

func TestLogLevels(t *testing.T) {
	var b strings.Builder
	log := slog.New(newLineHandler(&b, slog.LevelWarn)).With("a", "b c").WithGroup("g").With("d", 1)
	log.Info("quiet")
	log.Error("loud", "e", 2)
	if !strings.HasSuffix(b.String(), `ERROR loud a="b c" g.d=1 g.e=2`+"\n") || strings.Contains(b.String(), "quiet") {
		t.Errorf("got %q", b.String())
	}
}

// The library's own rules for handlers.
func TestLogHandler(t *testing.T) {
	var b *strings.Builder
	slogtest.Run(t, func(*testing.T) slog.Handler {
		b = &strings.Builder{}
		return newLineHandler(b, slog.LevelInfo)
	}, func(t *testing.T) map[string]any {
		out := map[string]any{}
		line := strings.TrimSuffix(b.String(), "\n")
		if m := regexp.MustCompile(`^\d{4}-\S+Z `).FindString(line); m != "" {
			out[slog.TimeKey], line = m, line[len(m):]
		}
		out[slog.LevelKey], line, _ = strings.Cut(line, " ")
		out[slog.MessageKey] = regexp.MustCompile(`^\w*`).FindString(line)
		for _, m := range regexp.MustCompile(` (\S+)=("[^"]*"|\S*)`).FindAllStringSubmatch(line, -1) {
			in, keys := out, strings.Split(m[1], ".")
			for _, k := range keys[:len(keys)-1] {
				if in[k] == nil {
					in[k] = map[string]any{}
				}
				in = in[k].(map[string]any)
			}
			in[keys[len(keys)-1]] = strings.Trim(m[2], `"`)
		}
		return out
	})
}
