//go:build cluster

package stage

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/berth-storage/berth/test/cluster"
)

func (e *Stage) root() string {
	e.Helper()
	root, err := cluster.FindRoot()
	e.Must(err)
	return root
}

// Block is the commands of the one fenced block of a page, docs/NAME, that has a
// word in it.
func (e *Stage) Block(page string, word string) string {
	e.Helper()
	data, err := os.ReadFile(filepath.Join(e.root(), "docs", page))
	e.Must(err)
	var found []string
	for i, block := range strings.Split(string(data), "```") {
		if i%2 == 0 || !strings.Contains(block, word) {
			continue
		}
		_, commands, _ := strings.Cut(block, "\n") // the first line names the language
		found = append(found, commands)
	}
	if len(found) != 1 {
		e.Fatalf("docs/%s has %d blocks with %q", page, len(found), word)
	}
	return found[0]
}

// Person runs commands, with words replaced, as somebody does who has read them
// in a page and has a checkout.
func (e *Stage) Person(commands string, replace ...string) string {
	e.Helper()
	commands = strings.NewReplacer(replace...).Replace(commands)
	cmd := exec.CommandContext(e.Ctx, "sh", "-e", "-c", commands)
	cmd.Dir = e.root()
	cmd.Env = e.C.Environ()
	out, err := cmd.CombinedOutput()
	if err != nil { // its end first: a summary shows one line
		said := strings.TrimSpace(string(out))
		e.Fatalf("%v: %s\nafter all of\n%s\nwhich said\n%s", err, said[strings.LastIndex(said, "\n")+1:], commands, said)
	}
	return string(out)
}
