package config

import (
	"math"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// SelectorTerm is one term of a node selector, spelt as Kubernetes does.
type SelectorTerm struct {
	MatchExpressions []Requirement
	MatchFields      []Requirement
}

// Requirement is one condition of a SelectorTerm: In, NotIn, Exists,
// DoesNotExist, Gt or Lt.
type Requirement struct {
	Key      string
	Operator string
	Values   []string
}

// Toleration is a pod's toleration of taints, spelt as Kubernetes does.
type Toleration struct {
	Key, Operator, Value, Effect string
	// Seconds is tolerationSeconds; nil tolerates for ever.
	Seconds *int64
}

// The words of Kubernetes' node selectors, tolerations and taints.
var (
	operators           = []string{"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"}
	fieldOperators      = []string{"In", "NotIn"}
	tolerationOperators = []string{"Exists", "Equal"}
	effects             = []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}
)

func (d *decoder) selectorTerm(p string, n *yaml.Node) (t SelectorTerm) {
	d.mapping(p, n, nil, []field{
		{"matchExpressions", func(p string, n *yaml.Node) {
			d.list(p, n, func(p string, n *yaml.Node) {
				r := d.requirement(p, n, operators)
				d.checkLabelRequirement(p, r)
				t.MatchExpressions = append(t.MatchExpressions, r)
			})
		}},
		{"matchFields", func(p string, n *yaml.Node) {
			d.list(p, n, func(p string, n *yaml.Node) {
				r := d.requirement(p, n, fieldOperators)
				d.checkFieldRequirement(p, r)
				t.MatchFields = append(t.MatchFields, r)
			})
		}},
	})
	return t
}

func (d *decoder) requirement(p string, n *yaml.Node, operators []string) (r Requirement) {
	d.mapping(p, n, []string{"key", "operator"}, []field{
		{"key", func(p string, n *yaml.Node) { d.text(p, n, &r.Key) }},
		{"operator", func(p string, n *yaml.Node) { d.oneOf(p, n, &r.Operator, operators) }},
		{"values", func(p string, n *yaml.Node) { d.texts(p, n, &r.Values) }},
	})
	return r
}

// checkLabelRequirement applies Kubernetes' rules for conditions on a node's labels.
func (d *decoder) checkLabelRequirement(p string, r Requirement) {
	if d.lines[p+".key"] > 0 && !labelKey(r.Key) && !d.reported(p+".key") {
		d.report(d.lines[p+".key"], p+".key", "found %s; allowed: a label's key such as team or example.com/team", quote(r.Key))
	}
	line, field := d.lineOf(p+".values", p), p+".values"
	if d.reported(field) {
		return
	}
	switch r.Operator {
	case "In", "NotIn":
		if len(r.Values) == 0 {
			d.report(line, field, "found no value; operator %s needs one at least", r.Operator)
		}
		for i, value := range r.Values {
			if !labelValue(value) {
				at := field + "[" + strconv.Itoa(i) + "]"
				d.report(d.lineOf(at, field), at, "found %s; allowed: a label's value", quote(value))
			}
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
}

// checkFieldRequirement applies Kubernetes' rules for conditions on a node's
// fields: it knows one field.
func (d *decoder) checkFieldRequirement(p string, r Requirement) {
	if line := d.lines[p+".key"]; line > 0 && r.Key != "metadata.name" && !d.reported(p+".key") {
		d.report(line, p+".key", "found %s; allowed: metadata.name", quote(r.Key))
	}
	if r.Operator != "" && len(r.Values) != 1 && !d.reported(p+".values") {
		d.report(d.lineOf(p+".values", p), p+".values", "found %d values; operator %s needs one, a node's name", len(r.Values), r.Operator)
	}
}

func (d *decoder) toleration(p string, n *yaml.Node) (t Toleration) {
	d.mapping(p, n, nil, []field{
		{"key", func(p string, n *yaml.Node) { d.text(p, n, &t.Key) }},
		{"operator", func(p string, n *yaml.Node) { d.oneOf(p, n, &t.Operator, tolerationOperators) }},
		{"value", func(p string, n *yaml.Node) { d.text(p, n, &t.Value) }},
		{"effect", func(p string, n *yaml.Node) { d.oneOf(p, n, &t.Effect, effects) }},
		{"tolerationSeconds", func(p string, n *yaml.Node) {
			t.Seconds = new(int64)
			d.whole(p, n, t.Seconds, math.MinInt64, math.MaxInt64)
		}},
	})
	d.checkToleration(p, t)
	return t
}

// checkToleration applies Kubernetes' rules for the fields of a toleration.
func (d *decoder) checkToleration(p string, t Toleration) {
	key, operator, seconds := p+".key", p+".operator", p+".tolerationSeconds"
	switch {
	case d.reported(key):
	case t.Key != "" && !labelKey(t.Key):
		d.report(d.lineOf(key, p), key, "found %s; allowed: a taint's key such as team or example.com/team", quote(t.Key))
	case t.Key == "" && t.Operator != "Exists" && !d.reported(operator) && !d.reported(p):
		d.report(d.lineOf(p), p, "found no key; allowed: a key, or operator: Exists to tolerate every taint")
	}
	if t.Operator == "Exists" && t.Value != "" {
		d.report(d.lineOf(p+".value", p), p+".value", "found with operator Exists; allowed: no value")
	}
	if t.Seconds != nil && t.Effect != "NoExecute" && !d.reported(seconds) && !d.reported(p+".effect") {
		d.report(d.lineOf(seconds, p), seconds, "found without effect: NoExecute; allowed: with that effect only")
	}
}
