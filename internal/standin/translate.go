package standin

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
)

// Translation is a configuration of the established provisioner in Berth's form.
type Translation struct {
	Agent *config.Agent
	// Notes say what is obeyed although the operator may not want it, or not
	// obeyed although it stands there, by key and line.
	Notes []Note
	doc   *yaml.Node // the native configuration
}

// Note is a remark about a line of the configuration. Its Message asks for no
// action before the configuration can be used.
type Note struct{ config.Problem }

// translation is a Translation in the making.
type translation struct {
	notes    []Note
	problems []config.Problem
	keys     map[string]*yaml.Node // by name, in normal form
	broken   map[string]bool       // keys that are no YAML
	doc      *yaml.Node
	unread   bool       // a key has too many values to read
	classes  []string   // by their place in doc
	job      *yaml.Node // useJobForCleaning, when it is true
}

// Translate translates the text of each of a ConfigMap's keys. The classes are
// in the order of their names. The error is a *config.Errors whose problems
// have a key for their file, and are in the order of the keys' names.
func Translate(data map[string]string) (*Translation, error) {
	t := &translation{keys: map[string]*yaml.Node{}, broken: map[string]bool{}}
	for _, name := range slices.Sorted(maps.Keys(data)) {
		t.read(name, data[name])
	}
	if t.unread {
		return nil, config.AsError(t.problems)
	}
	t.build()
	agent, err := config.DecodeNode(t.doc, t.place)
	var refused *config.Errors
	if errors.As(err, &refused) {
		own := map[config.Place]bool{}
		for _, p := range t.problems {
			own[config.Place{File: p.File, Field: p.Field}] = true
		}
		for _, p := range refused.Problems {
			// What could not be translated is missing in the document.
			if !own[config.Place{File: p.File, Field: p.Field}] {
				t.problems = append(t.problems, p)
			}
		}
	}
	if err := config.AsError(t.problems); err != nil {
		return nil, err
	}
	notes := t.notes
	slices.SortStableFunc(notes, func(a, b Note) int { return config.Compare(a.Problem, b.Problem) })
	return &Translation{Agent: agent, Notes: notes, doc: t.doc}, nil
}

// read brings one key into its normal form.
func (t *translation) read(name, value string) {
	f, known := keysForm.field(name)
	if !known {
		r := &reader{translation: t, key: name}
		r.note(1, "", "unknown key, which is ignored; known are: %s%s", strings.Join(keysForm.names(), ", "), config.Suggestion(name, keysForm.names()))
		return
	}
	r := &reader{translation: t, key: f.name, left: maxNodes}
	doc, problem := config.Parse([]byte(value))
	switch {
	case problem != nil:
		r.refuse(problem.Line, "", "%s", problem.Message)
		t.broken[f.name] = true
	case t.keys[f.name] != nil:
		r.refuse(1, "", "found a second time, as %s; allowed: one spelling", printable(name))
	case doc != nil:
		t.keys[f.name] = r.normal("", doc, f.form)
	}
}

// build makes the native document out of the keys.
func (t *translation) build() {
	if t.boolean(keyJob) {
		t.job = t.keys[keyJob]
	}
	top := &mapping{line: 1}
	top.text("apiVersion", api.ConfigVersion, 1)
	top.text("kind", api.ConfigKind, 1)
	top.put("classes", t.classList())
	top.put("nodeLabels", t.nodeLabels())
	top.put("labels", t.keys[keyLabels])
	top.put("ownerReference", t.keys[keyOwnerRef])
	top.put("nodeNameOnly", t.keys[keyNodeName])
	top.put("startupTaint", t.taint())
	top.put("jobTolerations", t.tolerations())
	top.put("rescanInterval", t.resync())
	if t.boolean(keyAlphaAPI) {
		t.note(keyAlphaAPI, t.keys[keyAlphaAPI].Line, "", "has no effect: Kubernetes 1.10 has dropped the alpha API")
	}
	t.doc = top.node()
}

// boolean is the value of a key that has no counterpart of the same kind.
func (t *translation) boolean(key string) bool {
	n := t.keys[key]
	if n == nil {
		return false
	}
	if n.Tag != "!!bool" {
		t.refuse(key, n.Line, "", "found %s; allowed: true, false", config.Describe(n))
	}
	return n.Value == "true"
}

// nodeLabels leaves out what is listed twice, which does no harm.
func (t *translation) nodeLabels() *yaml.Node {
	n := t.keys[keyNodeLabels]
	if n == nil || n.Kind != yaml.SequenceNode {
		return n
	}
	seen := map[string]bool{}
	out := *n
	out.Content = nil
	for _, e := range n.Content {
		if e.Kind != yaml.ScalarNode || !seen[e.Value] {
			out.Content = append(out.Content, e)
		}
		seen[e.Value] = true
	}
	return &out
}

// tolerations leaves out empty texts, which say as much as nothing.
func (t *translation) tolerations() *yaml.Node {
	n := t.keys[keyTolerations]
	if n != nil && n.Kind == yaml.SequenceNode {
		for _, e := range n.Content {
			dropEmpty(e, "key", "operator", "value", "effect")
		}
	}
	return n
}

func (t *translation) taint() *yaml.Node {
	remove, key := t.boolean(keyRemoveTaint), t.keys[keyTaint]
	empty := key == nil || key.Kind == yaml.ScalarNode && key.Value == ""
	switch {
	case remove && empty:
		t.note(keyRemoveTaint, t.keys[keyRemoveTaint].Line, "", "has no effect: %s does not name a taint", keyTaint)
		return nil
	case !remove && !empty:
		t.note(keyTaint, key.Line, "", "has no effect: %s is not true", keyRemoveTaint)
		return nil
	case empty:
		return nil
	}
	return key
}

func (t *translation) resync() *yaml.Node {
	n := t.keys[keyResync]
	if n == nil || n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		return n
	}
	interval, err := time.ParseDuration(n.Value)
	if err != nil {
		return n
	}
	if interval < config.MinRescanInterval {
		t.note(keyResync, n.Line, "", "found %s; taken as %s, the least that is allowed", n.Value, config.MinRescanInterval)
		interval = config.MinRescanInterval
	}
	return scalar("!!str", interval.String(), n.Line)
}

func (t *translation) note(key string, line int, field, format string, args ...any) {
	t.notes = append(t.notes, Note{config.Problem{File: key, Line: line, Field: field, Message: fmt.Sprintf(format, args...)}})
}

func (t *translation) refuse(key string, line int, field, format string, args ...any) {
	t.problems = append(t.problems, config.Problem{File: key, Line: line, Field: field, Message: fmt.Sprintf(format, args...)})
}

// cleanDir is a directory as people write it, without what does not matter.
func cleanDir(n *yaml.Node) *yaml.Node {
	if n == nil || n.Kind != yaml.ScalarNode || !path.IsAbs(n.Value) {
		return n
	}
	out := *n
	out.Value = path.Clean(n.Value)
	return &out
}
