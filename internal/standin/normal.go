package standin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/berth-storage/berth/internal/config"
)

// maxNodes bounds one key's values with all aliases written out. A file of 1 MiB,
// which is what a ConfigMap holds, has room for as many without them.
const maxNodes = 1 << 18

// reader brings one key's document into its schema's form.
type reader struct {
	*translation
	key  string
	left int // how many more nodes may be looked at
}

// normal returns n in the form that s says: without aliases, merges and fields
// that nobody reads, each name spelt as it should be, each scalar with the type
// that it is decoded into. Null gives nil, which is what leaving it out does.
// What cannot be brought into the form is returned as it is, for package config
// to refuse.
func (r *reader) normal(path string, n *yaml.Node, s *schema) *yaml.Node {
	if n = r.follow(n); isNull(n) || r.spent() {
		return nil
	}
	switch s.kind {
	case text:
		if value, ok := asText(n); ok {
			return scalar("!!str", value, n.Line)
		}
	case boolean:
		if value, ok := asBoolean(n); ok {
			return scalar("!!bool", strconv.FormatBool(value), n.Line)
		}
	case whole:
		if value, ok := asWhole(n); ok {
			return scalar("!!int", strconv.FormatInt(value, 10), n.Line)
		}
	case list:
		if n.Kind == yaml.SequenceNode {
			return r.list(path, n, s.of)
		}
	case table, record:
		if n.Kind == yaml.MappingNode {
			return r.mapping(path, n, s)
		}
	}
	if n.Kind == yaml.ScalarNode {
		return n
	}
	return &yaml.Node{Kind: n.Kind, Tag: n.Tag, Line: n.Line} // its contents do not matter any more
}

func (r *reader) list(path string, n *yaml.Node, of *schema) *yaml.Node {
	out := &yaml.Node{Kind: yaml.SequenceNode, Line: n.Line}
	for i, element := range n.Content {
		e := r.normal(fmt.Sprintf("%s[%d]", path, i), element, of)
		if e == nil {
			e = zero(of, element.Line)
		}
		out.Content = append(out.Content, e)
	}
	return out
}

func (r *reader) mapping(path string, n *yaml.Node, s *schema) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode, Line: n.Line}
	for _, e := range r.entries(path, n, s) {
		form, at := s.of, join(path, e.name)
		if s.kind == record {
			f, ok := s.field(e.name)
			if !ok {
				r.note(e.line, at, "unknown field, which is ignored%s", config.Suggestion(e.name, s.names()))
				continue
			}
			form, e.name, at = f.form, f.name, join(path, f.name)
		}
		value := r.normal(at, e.value, form)
		if value == nil && s.kind == record {
			continue
		}
		if value == nil {
			value = zero(form, e.line)
		}
		key := scalar("!!str", e.name, e.line)
		out.Content = append(out.Content, key, value)
	}
	return out
}

// entry is a key of a mapping and its value.
type entry struct {
	name  string
	spelt string // the name with the capitals that it stands there with
	line  int
	value *yaml.Node
}

// entries are a mapping's, in the order of their first appearance. Of a key that
// stands there twice the last value counts, also where one of them comes by a
// merge (<<).
func (r *reader) entries(path string, n *yaml.Node, s *schema) []entry {
	var list []entry
	place, within := map[string]int{}, map[*yaml.Node]bool{}
	var add func(n *yaml.Node, merged bool)
	add = func(n *yaml.Node, merged bool) {
		if within[n] {
			r.refuse(n.Line, path, "found a mapping that is merged into itself; allowed: a merge of another")
			return
		}
		within[n] = true
		defer delete(within, n)
		for i := 0; i+1 < len(n.Content) && !r.spent(); i += 2 {
			k := r.follow(n.Content[i])
			if k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge" {
				r.merge(path, n.Content[i+1], func(m *yaml.Node) { add(m, true) })
				continue
			}
			name, ok := asKey(k)
			if !ok {
				r.refuse(k.Line, path, "found %s as a name; allowed: text", config.Describe(k))
				continue
			}
			canonical := name
			if f, ok := s.field(name); ok && s.kind == record {
				canonical = f.name
			}
			e := entry{canonical, name, k.Line, n.Content[i+1]}
			if at, twice := place[canonical]; twice {
				if list[at].spelt != name {
					r.refuse(k.Line, join(path, canonical), "found as %s and as %s; allowed: one spelling", printable(list[at].spelt), printable(name))
				} else if !merged && list[at].line != k.Line {
					r.note(k.Line, join(path, canonical), "found a second time; the first, on line %d, is ignored", list[at].line)
				}
				list[at] = e
				continue
			}
			place[canonical] = len(list)
			list = append(list, e)
		}
	}
	add(n, false)
	return list
}

// merge calls add for each mapping that a merge key brings in, the last of a
// list first, so that the first wins.
func (r *reader) merge(path string, n *yaml.Node, add func(*yaml.Node)) {
	n = r.follow(n)
	if n.Kind == yaml.MappingNode && !r.spent() {
		add(n)
		return
	}
	if n.Kind != yaml.SequenceNode {
		r.refuse(n.Line, path, "found %s to merge; allowed: a mapping", config.Describe(n))
		return
	}
	for i := len(n.Content) - 1; i >= 0 && !r.spent(); i-- {
		if m := r.follow(n.Content[i]); m.Kind == yaml.MappingNode {
			add(m)
		} else {
			r.refuse(m.Line, path, "found %s to merge; allowed: a mapping", config.Describe(m))
		}
	}
}

// follow returns what an alias stands for.
func (r *reader) follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// spent counts one more node. It reports true, and says so once, when there
// have been too many.
func (r *reader) spent() bool {
	if r.left--; r.left == 0 {
		r.unread = true
		r.refuse(1, "", "its aliases make more than %d values of it; write them out", maxNodes)
	}
	return r.left <= 0
}

func (r *reader) note(line int, field, format string, args ...any) {
	r.notes = append(r.notes, Note{config.Problem{File: r.key, Line: line, Field: field, Message: fmt.Sprintf(format, args...)}})
}

func (r *reader) refuse(line int, field, format string, args ...any) {
	r.translation.refuse(r.key, line, field, format, args...)
}

// zero is what null is in a list or table: the empty value.
func zero(s *schema, line int) *yaml.Node {
	switch s.kind {
	case list:
		return &yaml.Node{Kind: yaml.SequenceNode, Line: line}
	case table, record:
		return &yaml.Node{Kind: yaml.MappingNode, Line: line}
	}
	return scalar("!!str", "", line)
}

// scalar is a node with a tag. Text that YAML 1.1 takes for a boolean is put in
// quotes, for the sake of others who read what YAML writes.
func scalar(tag, value string, line int) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value, Line: line}
	if tag == "!!str" && (slices.Contains(trueWords, value) || slices.Contains(falseWords, value)) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

func join(path, name string) string {
	return strings.TrimPrefix(path+"."+printable(name), ".")
}
