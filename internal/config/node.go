package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder walks one file's nodes and collects what is wrong with them.
type decoder struct {
	// place says where in the operator's files a field of this form stands.
	place    func(field string) Place
	problems []Problem
	faulty   map[string]bool // the fields with a problem
	// lines has the line of every field that the file spells out, by path, so
	// that checks of decoded values can say where the value stands.
	lines map[string]int
}

// field is a field's name and what to do with its value.
type field struct {
	name   string
	decode func(path string, n *yaml.Node)
}

// lineOf is the line of the first of the paths that the file spells out.
func (d *decoder) lineOf(paths ...string) int {
	for _, p := range paths {
		if line := d.lines[p]; line > 0 {
			return line
		}
	}
	return 1
}

// wrong reports that n is not what its field allows.
func (d *decoder) wrong(path string, n *yaml.Node, allowed string) {
	d.report(max(1, n.Line), path, "found %s; allowed: %s", Describe(n), allowed)
}

// mapping decodes the known fields of n, and reports the others and the
// required ones that are missing.
func (d *decoder) mapping(path string, n *yaml.Node, required []string, known []field) {
	d.lines[path] = n.Line
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.name
	}
	seen := map[string]bool{}
	whole := d.entries(path, n, func(p, key string, n *yaml.Node) {
		seen[key] = true
		for _, f := range known {
			if f.name == key {
				f.decode(p, n)
				return
			}
		}
		d.report(d.lines[p], p, "unknown field; allowed: %s%s", strings.Join(names, ", "), Suggestion(key, names))
	})
	if !whole {
		return
	}
	for _, name := range required {
		if !seen[name] {
			d.report(n.Line, join(path, name), "missing; every %s needs it", noun(path))
		}
	}
}

// entries calls each for the keys of a mapping, in their order, and reports
// keys that are not text or stand there twice. It returns false when n is not
// a mapping.
func (d *decoder) entries(path string, n *yaml.Node, each func(path, key string, n *yaml.Node)) bool {
	if n.Kind != yaml.MappingNode {
		d.wrong(path, n, "a mapping")
		return false
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
			d.wrong(path, key, "text as a field's name")
			continue
		}
		p := join(path, key.Value)
		if line, twice := first[key.Value]; twice {
			d.report(key.Line, p, "found a second time; the first is on line %d", line)
			continue
		}
		first[key.Value] = key.Line
		d.lines[p] = key.Line
		each(p, key.Value, value)
	}
	return true
}

// list calls each for the elements of a list.
func (d *decoder) list(path string, n *yaml.Node, each func(path string, n *yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		d.wrong(path, n, "a list")
		return
	}
	for i, element := range n.Content {
		p := fmt.Sprintf("%s[%d]", path, i)
		d.lines[p] = element.Line
		each(p, element)
	}
}

// text decodes a value that is not empty and that YAML takes for text.
func (d *decoder) text(path string, n *yaml.Node, into *string) {
	switch {
	case n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null":
		d.wrong(path, n, "text")
	case n.ShortTag() != "!!str" && n.Style&yaml.TaggedStyle == 0:
		d.wrong(path, n, "text; put it in quotes: "+strconv.Quote(n.Value))
	case n.ShortTag() != "!!str":
		d.wrong(path, n, "text without a tag")
	default:
		*into = n.Value
	}
}

// oneOf decodes one of the allowed words.
func (d *decoder) oneOf(path string, n *yaml.Node, into *string, allowed []string) {
	if n.Kind == yaml.ScalarNode {
		for _, word := range allowed {
			if n.Value == word && n.ShortTag() == "!!str" {
				*into = word
				return
			}
		}
		d.wrong(path, n, strings.Join(allowed, ", ")+Suggestion(n.Value, allowed))
		return
	}
	d.wrong(path, n, strings.Join(allowed, ", "))
}

func (d *decoder) boolean(path string, n *yaml.Node, into *bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		d.wrong(path, n, "true, false")
		return
	}
	*into = strings.EqualFold(n.Value, "true")
}

// texts decodes a list of texts.
func (d *decoder) texts(p string, n *yaml.Node, into *[]string) {
	*into = []string{}
	d.list(p, n, func(p string, n *yaml.Node) {
		var s string
		d.text(p, n, &s)
		*into = append(*into, s)
	})
}

// whole decodes a whole number within limits.
func (d *decoder) whole(p string, n *yaml.Node, into *int64, low, high int64) {
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil || v < low || v > high {
		allowed := "a whole number"
		if low > math.MinInt64 {
			allowed += fmt.Sprintf(" from %d to %d", low, high)
		}
		d.wrong(p, n, allowed)
		return
	}
	*into = v
}

// quantity is a number of bytes as Kubernetes spells it, without a fraction.
var quantity = regexp.MustCompile(`^([0-9]+)(Ki|Mi|Gi|Ti|k|M|G|T)?$`)

// units are quantity's second part.
var units = map[string]int64{"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}

// bytes decodes a number of bytes of at least low.
func (d *decoder) bytes(p string, n *yaml.Node, into *int64, low int64, example string) {
	v, ok := bytesOf(n)
	if !ok || v < low {
		d.wrong(p, n, fmt.Sprintf("a number of bytes of at least %d, such as %s", low, example))
		return
	}
	*into = v
}

// bytesOf reads a number of bytes.
func bytesOf(n *yaml.Node) (bytes int64, ok bool) {
	m := quantity.FindStringSubmatch(n.Value)
	tag := n.ShortTag()
	if n.Kind != yaml.ScalarNode || tag != "!!str" && tag != "!!int" || m == nil {
		return 0, false
	}
	v, err := strconv.ParseInt(m[1], 10, 64)
	unit := units[m[2]]
	if err != nil || v > math.MaxInt64/unit {
		return 0, false
	}
	return v * unit, true
}

// duration decodes a length of time of at least low.
func (d *decoder) duration(p string, n *yaml.Node, into *time.Duration, low time.Duration, example string) {
	v, err := time.ParseDuration(strings.TrimSpace(n.Value))
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || err != nil || v < low {
		d.wrong(p, n, "a duration of at least "+low.String()+", such as "+example)
		return
	}
	*into = v
}

func join(path, name string) string {
	name = printable(name)
	if path == "" {
		return name
	}
	return path + "." + name
}

// noun is what a path's mapping is called in a sentence.
func noun(path string) string {
	path, _, element := strings.Cut(path[strings.LastIndex(path, ".")+1:], "[")
	switch {
	case path == "":
		return "configuration"
	case element && path == "classes":
		return "class"
	case element && path == "pools":
		return "pool"
	case path == "matchExpressions", path == "matchFields":
		return "requirement"
	}
	return path
}

// Describe says in words what a node is.
func Describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias (*" + printable(n.Value) + ")"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!str":
		return quote(n.Value)
	case "!!int", "!!float":
		return "the number " + printable(n.Value)
	case "!!bool":
		return "the boolean " + printable(n.Value)
	default:
		return quote(n.Value) + " of YAML type " + printable(n.ShortTag())
	}
}

// longest is how much of a found value a message repeats.
const longest = 80

func quote(s string) string {
	if r := []rune(s); len(r) > longest {
		s = string(r[:longest]) + "…"
	}
	return strconv.Quote(s)
}

// printable is s when a line of text can hold it as it is, else s in quotes.
func printable(s string) string {
	if q := quote(s); q != `"`+s+`"` || strings.ContainsAny(s, " :") {
		return q
	}
	return s
}
