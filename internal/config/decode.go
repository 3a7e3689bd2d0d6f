package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/berth-storage/berth/api"
)

// Decode reads a configuration. File is only the name that errors carry. When
// allowedDirs is not empty, every class's mountDir must be at or beneath one of
// them. The error is an *Errors with everything that is wrong.
func Decode(file string, data []byte, allowedDirs []string) (*Agent, error) {
	d := newDecoder(func(field string) Place { return Place{file, field} })
	if doc := d.document(data); doc != nil {
		return d.configuration(doc, allowedDirs)
	}
	return nil, d.refusal()
}

// Place is where an operator finds a field: the file, and the field's path as
// it is spelt there.
type Place struct{ File, Field string }

// DecodeNode is Decode for a document that was built from a configuration of
// another form: its nodes have the lines of that one, and place says where a
// field of the document comes from.
func DecodeNode(doc *yaml.Node, place func(field string) Place) (*Agent, error) {
	return newDecoder(place).configuration(doc, nil)
}

func newDecoder(place func(string) Place) *decoder {
	return &decoder{place: place, lines: map[string]int{}, faulty: map[string]bool{}}
}

func (d *decoder) configuration(doc *yaml.Node, allowedDirs []string) (*Agent, error) {
	agent := &Agent{RescanInterval: DefaultRescanInterval}
	d.agent(doc, agent)
	d.check(agent, allowedDirs)
	if err := d.refusal(); err != nil {
		return nil, err
	}
	return agent, nil
}

// refusal is an *Errors with the problems in the operator's words, or nil.
func (d *decoder) refusal() error {
	for i, p := range d.problems {
		at := d.place(p.Field)
		d.problems[i].File, d.problems[i].Field = at.File, at.Field
	}
	return AsError(d.problems)
}

// yamlLine finds the line in a message of the YAML parser, which has no type for it.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// document parses the only document of data, or reports why there is none.
func (d *decoder) document(data []byte) *yaml.Node {
	doc, problem := Parse(data)
	switch {
	case problem != nil:
		d.problems = append(d.problems, *problem)
	case doc == nil:
		d.report(1, "", "found an empty file; allowed: one document with apiVersion: %s and kind: %s", api.ConfigVersion, api.ConfigKind)
	}
	return doc
}

// Parse returns the root of the only YAML document in data: nil when that is
// empty or null, or else the problem for which there is none.
func Parse(data []byte) (*yaml.Node, *Problem) {
	if at := firstInvalid(data); at >= 0 {
		return nil, &Problem{Line: 1 + bytes.Count(data[:at], []byte("\n")), Message: "found bytes that are not text; allowed: YAML in UTF-8"}
	}
	parser := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := parser.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && empty(&doc) {
		return nil, nil
	}
	if err == nil {
		if err = parser.Decode(&second); err == nil {
			return nil, &Problem{Line: max(1, second.Line), Message: "found a second document; allowed: one"}
		}
	}
	if !errors.Is(err, io.EOF) {
		line, message := 1, err.Error()
		if m := yamlLine.FindStringSubmatch(message); m != nil {
			if n, err := strconv.Atoi(m[1]); err == nil {
				line = max(1, n)
			}
			message = m[2]
		}
		return nil, &Problem{Line: line, Message: "not YAML: " + message}
	}
	return doc.Content[0], nil
}

func empty(doc *yaml.Node) bool {
	return len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null"
}

// firstInvalid is the offset of the first byte that is not UTF-8 or that YAML
// forbids, or -1. The parser would refuse it too, but without a line.
func firstInvalid(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		control := unicode.IsControl(r) && !strings.ContainsRune("\t\n\r\u0085", r)
		if control || r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

func (d *decoder) agent(n *yaml.Node, a *Agent) {
	d.mapping("", n, []string{"apiVersion", "kind"}, d.agentFields(a))
}

// agentFields are the fields of the file's top, in the order of the example.
func (d *decoder) agentFields(a *Agent) []field {
	var version, kind string
	return []field{
		{"apiVersion", func(p string, n *yaml.Node) { d.oneOf(p, n, &version, []string{api.ConfigVersion}) }},
		{"kind", func(p string, n *yaml.Node) { d.oneOf(p, n, &kind, []string{api.ConfigKind}) }},
		{"classes", func(p string, n *yaml.Node) {
			d.list(p, n, func(p string, n *yaml.Node) { a.Classes = append(a.Classes, d.class(p, n)) })
		}},
		{"pools", func(p string, n *yaml.Node) {
			d.list(p, n, func(p string, n *yaml.Node) { a.Pools = append(a.Pools, d.pool(p, n)) })
		}},
		{"nodeLabels", func(p string, n *yaml.Node) {
			d.list(p, n, func(p string, n *yaml.Node) {
				var key string
				d.text(p, n, &key)
				a.NodeLabels = append(a.NodeLabels, key)
			})
		}},
		{"labels", func(p string, n *yaml.Node) { d.labels(p, n, a) }},
		{"ownerReference", func(p string, n *yaml.Node) { d.boolean(p, n, &a.OwnerReference) }},
		{"nodeNameOnly", func(p string, n *yaml.Node) { d.boolean(p, n, &a.NodeNameOnly) }},
		{"startupTaint", func(p string, n *yaml.Node) { d.text(p, n, &a.StartupTaint) }},
		{"jobTolerations", func(p string, n *yaml.Node) {
			d.list(p, n, func(p string, n *yaml.Node) { a.JobTolerations = append(a.JobTolerations, d.toleration(p, n)) })
		}},
		{"rescanInterval", func(p string, n *yaml.Node) { d.duration(p, n, &a.RescanInterval, MinRescanInterval, "5m") }},
	}
}

func (d *decoder) class(p string, n *yaml.Node) Class {
	c := Class{VolumeMode: Filesystem, NamePattern: DefaultNamePattern, Wipe: DefaultWipe, WhenGone: Report}
	d.mapping(p, n, []string{"name", "hostDir"}, d.classFields(&c))
	c.Line = d.lineOf(p+".name", p)
	if c.MountDir == "" && d.lines[p+".mountDir"] == 0 {
		c.MountDir = c.HostDir
	}
	if c.AccessMode == "" {
		c.AccessMode = ReadWriteOnce
		if c.ReadOnly {
			c.AccessMode = ReadOnlyMany
		}
	}
	return c
}

// classFields are the fields of one class, in the order of the example.
func (d *decoder) classFields(c *Class) []field {
	return []field{
		{"name", func(p string, n *yaml.Node) { d.text(p, n, &c.Name) }},
		{"hostDir", func(p string, n *yaml.Node) { d.text(p, n, &c.HostDir) }},
		{"mountDir", func(p string, n *yaml.Node) { d.text(p, n, &c.MountDir) }},
		{"volumeMode", func(p string, n *yaml.Node) { d.oneOf(p, n, (*string)(&c.VolumeMode), volumeModes) }},
		{"accessMode", func(p string, n *yaml.Node) { d.oneOf(p, n, (*string)(&c.AccessMode), accessModes) }},
		{"fsType", func(p string, n *yaml.Node) { d.oneOf(p, n, &c.FSType, fsTypes) }},
		{"namePattern", func(p string, n *yaml.Node) { d.text(p, n, &c.NamePattern) }},
		{"wipe", func(p string, n *yaml.Node) { d.wipe(p, n, &c.Wipe) }},
		{"selector", func(p string, n *yaml.Node) {
			d.list(p, n, func(p string, n *yaml.Node) { c.Selector = append(c.Selector, d.selectorTerm(p, n)) })
		}},
		{"whenGone", func(p string, n *yaml.Node) { d.oneOf(p, n, (*string)(&c.WhenGone), whenGone) }},
		{"shared", func(p string, n *yaml.Node) { d.boolean(p, n, &c.Shared) }},
		{"readOnly", func(p string, n *yaml.Node) { d.boolean(p, n, &c.ReadOnly) }},
	}
}

func (d *decoder) labels(p string, n *yaml.Node, a *Agent) {
	a.Labels = map[string]string{}
	d.entries(p, n, func(p, key string, n *yaml.Node) {
		var value string
		d.text(p, n, &value)
		a.Labels[key] = value
	})
}

// report adds a problem.
func (d *decoder) report(line int, field, format string, args ...any) {
	d.faulty[field] = true
	d.problems = append(d.problems, Problem{Line: line, Field: field, Message: fmt.Sprintf(format, args...)})
}
