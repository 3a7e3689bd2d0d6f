//go:build script

package script

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMarkdown runs the blocks marked "console script" in the Markdown files:
// lines with "$ " are commands, the lines after one are all that it prints.
func TestMarkdown(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	ran := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks(string(data)) {
			ran++
			t.Run(fmt.Sprintf("%s:%d", filepath.Base(file), b.line), b.run)
		}
	}
	if ran == 0 {
		t.Error("found no block marked \"console script\"")
	}
}

type block struct {
	line     int // of its first command
	commands []command
}

type command struct{ text, want string }

func blocks(markdown string) []block {
	const begin, end = "```console script", "```"
	var list []block
	inside, line := false, 0
	for text := range strings.Lines(markdown) {
		line++
		trimmed := strings.TrimSpace(text)
		if !inside {
			if inside = trimmed == begin; inside {
				list = append(list, block{line: line + 1})
			}
			continue
		}
		b := &list[len(list)-1]
		if trimmed == end {
			inside = false
		} else if rest, ok := strings.CutPrefix(trimmed, "$ "); ok {
			b.commands = append(b.commands, command{text: rest})
		} else if n := len(b.commands); n > 0 {
			b.commands[n-1].want += text
		}
	}
	return list
}

// run runs the block's commands in one empty directory. A command may fail:
// what it prints says so.
func (b block) run(t *testing.T) {
	dir := t.TempDir()
	if len(b.commands) == 0 {
		t.Error("the block has no command")
	}
	for _, c := range b.commands {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", c.text)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+dir)
		out, err := cmd.CombinedOutput()
		if string(out) != c.want {
			t.Errorf("$ %s\n%s(%v)\nwant\n%s", c.text, out, err, c.want)
		}
	}
}
