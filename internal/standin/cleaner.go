package standin

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/berth-storage/berth/internal/config"
)

// scripts is where the established provisioner's image has its cleaners.
const scripts = "/scripts/"

// wipe translates a class's cleaner.
func (t *translation) wipe(class string, line int, command *yaml.Node, block bool) *yaml.Node {
	field := class + ".blockCleanerCommand"
	args := []string{scripts + "quick_reset.sh"}
	if command == nil {
		command = scalar("!!null", "", line)
	} else if args = texts(command); args == nil {
		return t.byCommand(command) // a form that package config refuses
	}
	if len(args) == 0 {
		t.refuse(keyClasses, command.Line, field, "found an empty list; allowed: a cleaner and its arguments, or leave it out for %s", scripts+"quick_reset.sh")
		return nil
	}
	method := config.WipeCommand
	switch script, bundled := strings.CutPrefix(args[0], scripts); {
	case !bundled:
	case script == "quick_reset.sh":
		method = config.WipeSignatures
		if block {
			t.note(keyClasses, command.Line, field, "%s leaves the data on a released device, where the next tenant can read it; "+
				"%sblkdiscard.sh (method Erase), %sdd_zero.sh and %sshred.sh erase it", args[0], scripts, scripts, scripts)
		}
	case script == "dd_zero.sh":
		method = config.WipeZero
	case script == "shred.sh":
		method = config.WipeShred
	case script == "blkdiscard.sh":
		method = config.WipeErase
	case script == "fsclean.sh":
		t.refuse(keyClasses, command.Line, field+"[0]", "found %q, which cleans directories; allowed: a cleaner for block devices", args[0])
		return nil
	}
	if method == config.WipeCommand {
		return t.byCommand(command)
	}
	return t.bundled(method, field, command, args)
}

// bundled translates a cleaner of the established provisioner's image.
func (t *translation) bundled(method config.WipeMethod, field string, command *yaml.Node, args []string) *yaml.Node {
	m := &mapping{line: command.Line}
	m.text("method", string(method), command.Line)
	taken := 1
	if len(args) > 1 {
		line, at := command.Content[1].Line, field+"[1]"
		passes, err := strconv.ParseUint(args[1], 10, 31)
		switch {
		case args[1] == "-h":
			t.refuse(keyClasses, line, at, "found \"-h\", with which %s erases nothing; allowed: no such argument", args[0])
			return nil
		case method != config.WipeZero && method != config.WipeShred:
		case err != nil || passes == 0:
			t.refuse(keyClasses, line, at, "found %q; allowed: a number of passes from 1 to 100", args[1])
			return nil
		default:
			taken = 2
			m.put("passes", scalar("!!int", strconv.FormatUint(passes, 10), line))
		}
	}
	if len(args) > taken {
		t.note(keyClasses, command.Content[taken].Line, fmt.Sprintf("%s[%d]", field, taken), "%s takes no such argument; it is ignored", args[0])
	}
	m.put("job", t.job)
	return m.node()
}

// byCommand is a wipe by a program of the operator's.
func (t *translation) byCommand(command *yaml.Node) *yaml.Node {
	m := &mapping{line: command.Line}
	m.text("method", string(config.WipeCommand), command.Line)
	m.put("command", command)
	m.put("job", t.job)
	return m.node()
}

// texts is a list's texts; nil when n is no list of texts.
func texts(n *yaml.Node) []string {
	if n.Kind != yaml.SequenceNode {
		return nil
	}
	list := []string{}
	for _, e := range n.Content {
		if e.Kind != yaml.ScalarNode || e.Tag != "!!str" {
			return nil
		}
		list = append(list, e.Value)
	}
	return list
}
