package config

import (
	"math"
	"path"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var (
	wipeMethods = []string{string(WipeErase), string(WipeZero), string(WipeShred), string(WipeSignatures), string(WipeCommand)}
	// operators and effects are those of Kubernetes' node selectors and taints.
	operators           = []string{"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"}
	tolerationOperators = []string{"Exists", "Equal"}
	effects             = []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}
)

// maxPasses keeps a slip of the finger from wiping for months.
const maxPasses = 100

func (d *decoder) wipe(p string, n *yaml.Node, w *Wipe) {
	passes, timeout := int64(0), time.Duration(0)
	d.mapping(p, n, nil, []field{
		{"method", func(p string, n *yaml.Node) { d.oneOf(p, n, (*string)(&w.Method), wipeMethods) }},
		{"passes", func(p string, n *yaml.Node) { d.whole(p, n, &passes, 1, maxPasses) }},
		{"command", func(p string, n *yaml.Node) { d.texts(p, n, &w.Command) }},
		{"timeout", func(p string, n *yaml.Node) { d.duration(p, n, &timeout, time.Second, "24h") }},
		{"job", func(p string, n *yaml.Node) { d.boolean(p, n, &w.Job) }},
	})
	if passes > 0 {
		w.Passes = int(passes)
	} else if w.Method == WipeShred {
		w.Passes = DefaultShredPasses
	}
	if timeout > 0 {
		w.Timeout = timeout
	}
	d.checkWipe(p, *w)
}

// checkWipe looks at the fields of a wipe that need or exclude each other.
func (d *decoder) checkWipe(p string, w Wipe) {
	command, passes := d.lines[p+".command"], d.lines[p+".passes"]
	switch {
	case w.Method == WipeCommand && command == 0:
		d.report(d.lineOf(p), p+".command", "missing; method Command needs it")
	case w.Method != WipeCommand && command > 0 && !d.reported(p+".method"):
		d.report(command, p+".command", "found with method %s; allowed: with method Command only", w.Method)
	case command > 0 && !d.reported(p+".command") && len(w.Command) == 0:
		d.report(command, p+".command", "found an empty list; allowed: a program's absolute path and its arguments")
	case command > 0 && len(w.Command) > 0 && !path.IsAbs(w.Command[0]) && !d.reported(p+".command[0]"):
		d.report(command, p+".command[0]", "found %s; allowed: a program's absolute path", quote(w.Command[0]))
	}
	if passes > 0 && w.Method != WipeZero && w.Method != WipeShred {
		d.report(passes, p+".passes", "found with method %s; allowed: with methods Zero and Shred only", w.Method)
	}
	if line := d.lines[p+".timeout"]; line > 0 && w.Method != WipeCommand && !w.Job {
		d.report(line, p+".timeout", "found with method %s and without job: true; allowed: where another program does the wipe", w.Method)
	}
}

func (d *decoder) selectorTerm(p string, n *yaml.Node) (t SelectorTerm) {
	requirements := func(into *[]Requirement) func(string, *yaml.Node) {
		return func(p string, n *yaml.Node) {
			d.list(p, n, func(p string, n *yaml.Node) { *into = append(*into, d.requirement(p, n)) })
		}
	}
	d.mapping(p, n, nil, []field{
		{"matchExpressions", requirements(&t.MatchExpressions)},
		{"matchFields", requirements(&t.MatchFields)},
	})
	return t
}

func (d *decoder) requirement(p string, n *yaml.Node) (r Requirement) {
	d.mapping(p, n, []string{"key", "operator"}, []field{
		{"key", func(p string, n *yaml.Node) { d.text(p, n, &r.Key) }},
		{"operator", func(p string, n *yaml.Node) { d.oneOf(p, n, &r.Operator, operators) }},
		{"values", func(p string, n *yaml.Node) { d.texts(p, n, &r.Values) }},
	})
	line, field := d.lineOf(p+".values", p), p+".values"
	for _, value := range r.Values {
		if !labelValue(value) && !d.reported(field) {
			d.report(line, field, "found %s; allowed: labels' values", quote(value))
		}
	}
	switch r.Operator {
	case "In", "NotIn":
		if len(r.Values) == 0 && !d.reported(field) {
			d.report(line, field, "found no value; operator %s needs one at least", r.Operator)
		}
	case "Exists", "DoesNotExist":
		if len(r.Values) > 0 {
			d.report(line, field, "found with operator %s; allowed: no values", r.Operator)
		}
	case "Gt", "Lt":
		if len(r.Values) != 1 {
			d.report(line, field, "found %d values; operator %s needs one, a whole number", len(r.Values), r.Operator)
		} else if _, err := strconv.ParseInt(r.Values[0], 10, 64); err != nil {
			d.report(line, field, "found %s; operator %s needs a whole number", quote(r.Values[0]), r.Operator)
		}
	}
	if r.Key != "" && !labelKey(r.Key) && r.Key != "metadata.name" {
		d.report(d.lineOf(p+".key", p), p+".key", "found %s; allowed: a label's key such as team or example.com/team", quote(r.Key))
	}
	return r
}

func (d *decoder) toleration(p string, n *yaml.Node) (t Toleration) {
	seconds := int64(0)
	d.mapping(p, n, nil, []field{
		{"key", func(p string, n *yaml.Node) { d.text(p, n, &t.Key) }},
		{"operator", func(p string, n *yaml.Node) { d.oneOf(p, n, &t.Operator, tolerationOperators) }},
		{"value", func(p string, n *yaml.Node) { d.text(p, n, &t.Value) }},
		{"effect", func(p string, n *yaml.Node) { d.oneOf(p, n, &t.Effect, effects) }},
		{"tolerationSeconds", func(p string, n *yaml.Node) {
			d.whole(p, n, &seconds, math.MinInt32, math.MaxInt32)
			t.Seconds = &seconds
		}},
	})
	switch {
	case t.Key != "" && !labelKey(t.Key):
		d.report(d.lineOf(p+".key", p), p+".key", "found %s; allowed: a taint's key such as team or example.com/team", quote(t.Key))
	case t.Key == "" && t.Operator != "Exists" && !d.reported(p+".operator") && !d.reported(p+".key"):
		d.report(d.lineOf(p), p, "found no key; allowed: a key, or operator: Exists to tolerate every taint")
	case t.Operator == "Exists" && t.Value != "":
		d.report(d.lineOf(p+".value", p), p+".value", "found with operator Exists; allowed: no value")
	case t.Seconds != nil && t.Effect != "NoExecute":
		d.report(d.lineOf(p+".tolerationSeconds", p), p+".tolerationSeconds", "found without effect: NoExecute; allowed: with that effect only")
	}
	return t
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
		d.wrong(p, n, "a whole number from "+strconv.FormatInt(low, 10)+" to "+strconv.FormatInt(high, 10))
		return
	}
	*into = v
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
