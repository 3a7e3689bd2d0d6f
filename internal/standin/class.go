package standin

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/berth-storage/berth/internal/config"
)

// classList is the classes in the order of their names.
func (t *translation) classList() *yaml.Node {
	n := t.keys[keyClasses]
	list := &yaml.Node{Kind: yaml.SequenceNode, Line: 1}
	switch {
	case t.broken[keyClasses]:
		return list
	case n == nil:
		t.refuse(keyClasses, 1, "", "missing or empty; allowed: a mapping of StorageClasses' names to their settings")
		return list
	case n.Kind != yaml.MappingNode:
		t.refuse(keyClasses, n.Line, "", "found %s; allowed: a mapping of StorageClasses' names to their settings", config.Describe(n))
		return list
	case len(n.Content) == 0:
		t.refuse(keyClasses, n.Line, "", "found no class; allowed: one at least")
	}
	type named struct{ name, class *yaml.Node }
	var all []named
	for i := 0; i+1 < len(n.Content); i += 2 {
		all = append(all, named{n.Content[i], n.Content[i+1]})
	}
	slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.name.Value, b.name.Value) })
	for _, c := range all {
		t.classes = append(t.classes, printable(c.name.Value))
		if c.class.Kind != yaml.MappingNode {
			list.Content = append(list.Content, c.class)
			continue
		}
		list.Content = append(list.Content, t.class(c.name, c.class))
	}
	return list
}

func (t *translation) class(name, n *yaml.Node) *yaml.Node {
	at := printable(name.Value)
	dropEmpty(n, "volumeMode", "accessMode", "fsType", "namePattern")
	block := false
	if mode := get(n, "volumeMode"); mode != nil {
		block = mode.Value == string(config.Block)
	}
	m := &mapping{line: name.Line}
	m.put("name", name)
	hostDir, mountDir := cleanDir(get(n, "hostDir")), cleanDir(get(n, "mountDir"))
	m.put("hostDir", hostDir)
	if mountDir == nil {
		t.refuse(keyClasses, name.Line, at+".mountDir", "missing; every class needs it")
	} else if hostDir == nil || hostDir.Value != mountDir.Value {
		m.put("mountDir", mountDir)
	}
	m.put("volumeMode", get(n, "volumeMode"))
	m.put("accessMode", get(n, "accessMode"))
	if fsType := get(n, "fsType"); fsType != nil && block {
		t.note(keyClasses, fsType.Line, at+".fsType", "has no effect in a class of volumeMode Block")
	} else {
		m.put("fsType", fsType)
	}
	m.put("namePattern", t.pattern(at, get(n, "namePattern")))
	m.put("wipe", t.wipe(at, name.Line, get(n, "blockCleanerCommand"), block))
	m.put("selector", get(n, "selector"))
	return m.node()
}

// pattern translates the names to publish. There, a blank is part of the glob
// beside it, and an empty glob, or one with a slash, matches nothing.
func (t *translation) pattern(class string, n *yaml.Node) *yaml.Node {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		return n
	}
	field := class + ".namePattern"
	var globs []string
	for _, glob := range strings.Split(n.Value, ",") {
		bare := strings.TrimSpace(glob)
		switch _, err := path.Match(glob, ""); {
		case glob == "":
			continue
		case err != nil:
			return n // package config refuses it
		case strings.Contains(glob, "/"):
			t.note(keyClasses, n.Line, field, "the glob %q is ignored: names have no '/'", glob)
			continue
		case bare != glob:
			t.note(keyClasses, n.Line, field, "the glob %q has blanks around it, which are part of the names it matches; without them it would match %q", glob, bare)
			glob = bracketed(glob, bare)
		}
		globs = append(globs, glob)
	}
	if len(globs) == 0 {
		t.refuse(keyClasses, n.Line, field, "found %q, which matches no name; allowed: globs of *, ?, [a-z] and \\, with commas between them", n.Value)
		return nil
	}
	return scalar("!!str", strings.Join(globs, ","), n.Line)
}

// bracketed writes the blanks around a glob so that they are taken for part of it.
func bracketed(glob, bare string) string {
	before, after, _ := strings.Cut(glob, bare)
	if bare == "" {
		before, after = glob, ""
	}
	var b strings.Builder
	put := func(blanks string) {
		for _, r := range blanks {
			fmt.Fprintf(&b, "[%c]", r)
		}
	}
	put(before)
	b.WriteString(bare)
	put(after)
	return b.String()
}
