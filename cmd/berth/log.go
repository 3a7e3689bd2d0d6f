package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// lineHandler writes each record as one line:
//
//	2026-01-02T15:04:05.000Z WARN message as it is key=value key="a value"
//
// The message is not put in quotes, so that what people search logs for, with
// quotes in it, is found. What could end the line or play with a terminal is
// escaped everywhere.
type lineHandler struct {
	to     *lockedWriter
	level  slog.Leveler
	attrs  string // formatted already
	prefix string // of keys, by groups
}

type lockedWriter struct {
	mu sync.Mutex // one line at a time
	w  io.Writer
}

func newLineHandler(w io.Writer, level slog.Leveler) *lineHandler {
	return &lineHandler{to: &lockedWriter{w: w}, level: level}
}

// Enabled is part of slog.Handler.
func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle is part of slog.Handler.
func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	if !r.Time.IsZero() {
		b.WriteString(r.Time.UTC().Format("2006-01-02T15:04:05.000Z") + " ")
	}
	b.WriteString(r.Level.String() + " ")
	writeSafe(&b, r.Message)
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&b, h.prefix, a)
		return true
	})
	b.WriteByte('\n')
	h.to.mu.Lock()
	defer h.to.mu.Unlock()
	_, err := io.WriteString(h.to.w, b.String())
	return err
}

// WithAttrs is part of slog.Handler.
func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range attrs {
		writeAttr(&b, h.prefix, a)
	}
	return &lineHandler{to: h.to, level: h.level, attrs: b.String(), prefix: h.prefix}
}

// WithGroup is part of slog.Handler.
func (h *lineHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &lineHandler{to: h.to, level: h.level, attrs: h.attrs, prefix: h.prefix + name + "."}
}

func writeAttr(b *strings.Builder, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	switch {
	case a.Equal(slog.Attr{}):
		return
	case v.Kind() == slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range v.Group() {
			writeAttr(b, prefix, member)
		}
		return
	}
	s := v.String()
	if v.Kind() == slog.KindTime {
		s = v.Time().UTC().Format(time.RFC3339Nano)
	}
	b.WriteByte(' ')
	b.WriteString(quoted(prefix + a.Key))
	b.WriteByte('=')
	b.WriteString(quoted(s))
}

// quoted is s, in quotes where its end, or what it is, would not be clear else.
func quoted(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r == ' ' || r == '"' || r == '=' || unseen(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// writeSafe writes s as it is, but for what must not be in a line.
func writeSafe(b *strings.Builder, s string) {
	for i, r := range s {
		switch {
		case r == unicode.ReplacementChar && !strings.HasPrefix(s[i:], string(unicode.ReplacementChar)):
			fmt.Fprintf(b, `\x%02x`, s[i])
		case unseen(r):
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
}

// unseen reports whether a rune could end a line, or is not seen: control
// characters, marks of direction, bytes that are not text.
func unseen(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }
