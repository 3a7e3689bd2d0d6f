package standin

import (
	"slices"
	"strings"
)

// kind is what the established provisioner decodes a value into.
type kind int

const (
	text     kind = iota // numbers and booleans count as text
	boolean              // of YAML 1.1: yes and on, too
	whole                // a whole number
	duration             // text such as 5m0s, and nothing that YAML takes for anything else
	list
	table  // a mapping with keys of the operator's choice
	record // a mapping with the named fields
)

// schema is the form of a value.
type schema struct {
	kind   kind
	of     *schema // the elements of a list or table
	fields []field // of a record
}

type field struct {
	name string
	form *schema
}

var (
	textForm     = &schema{kind: text}
	booleanForm  = &schema{kind: boolean}
	textsForm    = &schema{kind: list, of: textForm}
	durationForm = &schema{kind: duration}

	requirementsForm = &schema{kind: list, of: &schema{kind: record, fields: []field{
		{"key", textForm}, {"operator", textForm}, {"values", textsForm},
	}}}
	selectorForm = &schema{kind: list, of: &schema{kind: record, fields: []field{
		{"matchExpressions", requirementsForm}, {"matchFields", requirementsForm},
	}}}
	tolerationsForm = &schema{kind: list, of: &schema{kind: record, fields: []field{
		{"key", textForm}, {"operator", textForm}, {"value", textForm}, {"effect", textForm}, {"tolerationSeconds", &schema{kind: whole}},
	}}}
	classForm = &schema{kind: record, fields: []field{
		{"hostDir", textForm}, {"mountDir", textForm}, {"blockCleanerCommand", textsForm}, {"volumeMode", textForm},
		{"accessMode", textForm}, {"fsType", textForm}, {"namePattern", textForm}, {"selector", selectorForm},
	}}
)

// The keys of the ConfigMap.
const (
	keyClasses     = "storageClassMap"
	keyNodeLabels  = "nodeLabelsForPV"
	keyLabels      = "labelsForPV"
	keyAlphaAPI    = "useAlphaAPI"
	keyJob         = "useJobForCleaning"
	keyTolerations = "jobTolerations"
	keyResync      = "minResyncPeriod"
	keyNodeName    = "useNodeNameOnly"
	keyOwnerRef    = "setPVOwnerRef"
	keyRemoveTaint = "removeNodeNotReadyTaint"
	keyTaint       = "provisionerNotReadyNodeTaintKey"
)

// keysForm is the ConfigMap as a whole.
var keysForm = &schema{kind: record, fields: []field{
	{keyClasses, &schema{kind: table, of: classForm}}, {keyNodeLabels, textsForm}, {keyLabels, &schema{kind: table, of: textForm}},
	{keyAlphaAPI, booleanForm}, {keyJob, booleanForm}, {keyTolerations, tolerationsForm}, {keyResync, durationForm},
	{keyNodeName, booleanForm}, {keyOwnerRef, booleanForm}, {keyRemoveTaint, booleanForm}, {keyTaint, textForm},
}}

// names are the names of a record's fields.
func (s *schema) names() []string {
	var names []string
	for _, f := range s.fields {
		names = append(names, f.name)
	}
	return names
}

// field finds a field as encoding/json does: by its name, or else by its name
// with other capitals.
func (s *schema) field(name string) (field, bool) {
	if i := slices.IndexFunc(s.fields, func(f field) bool { return f.name == name }); i >= 0 {
		return s.fields[i], true
	}
	i := slices.IndexFunc(s.fields, func(f field) bool { return strings.EqualFold(f.name, name) })
	if i < 0 {
		return field{}, false
	}
	return s.fields[i], true
}
