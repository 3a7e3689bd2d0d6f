package main

import (
	"regexp"
	"strings"
)

func word(action string) string {
	return map[string]string{"pass": "ok", "fail": "FAIL", "skip": "skip"}[action]
}

// short is a package's path within the project.
func short(pkg string) string {
	return strings.TrimPrefix(strings.TrimPrefix(pkg, "github.com/berth-storage/berth"), "/")
}

// framing are the lines that the testing package adds.
var framing = regexp.MustCompile(`^\s*(=== |--- (PASS|FAIL|SKIP|BENCH): )|^(PASS|FAIL|ok|exit status \d+)\b`)

// text is output without framing, each line indented and ended.
func text(output []string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.Join(output, "")) {
		if !framing.MatchString(line) {
			b.WriteString("    " + strings.TrimRight(line, "\n") + "\n")
		}
	}
	return b.String()
}

// position is where a message came from, as the testing package prints it.
var position = regexp.MustCompile(`^[\w.-]+\.go:\d+: `)

// reason is what a skipped test said, on one line.
func reason(output []string) string {
	words := strings.Join(strings.Fields(text(output)), " ")
	if words = position.ReplaceAllString(words, ""); words != "" {
		return words
	}
	return "no reason given"
}
