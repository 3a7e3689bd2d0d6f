package standin

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/berth-storage/berth/internal/config"
)

// ConfigMapData returns the keys of a ConfigMap that is written as YAML or
// JSON, as kubectl get configmap -o yaml prints it. File is the name that
// errors carry.
func ConfigMapData(file string, data []byte) (map[string]string, error) {
	refuse := func(line int, field, message string) error {
		return &config.Errors{Problems: []config.Problem{{File: file, Line: max(1, line), Field: field, Message: message}}}
	}
	doc, problem := config.Parse(data)
	if problem != nil {
		return nil, refuse(problem.Line, "", problem.Message)
	}
	const allowed = "; allowed: an object of kind: ConfigMap"
	if doc == nil {
		return nil, refuse(1, "", "found an empty file"+allowed)
	}
	if doc.Kind != yaml.MappingNode {
		return nil, refuse(doc.Line, "", "found "+config.Describe(doc)+allowed)
	}
	kind, keys := get(doc, "kind"), get(doc, "data")
	switch {
	case kind == nil:
		return nil, refuse(doc.Line, "kind", "missing"+allowed)
	case kind.Value != "ConfigMap":
		return nil, refuse(kind.Line, "kind", "found "+config.Describe(kind)+"; allowed: ConfigMap")
	case keys == nil:
		return nil, refuse(doc.Line, "data", "missing; a ConfigMap's keys stand there")
	case keys.Kind != yaml.MappingNode:
		return nil, refuse(keys.Line, "data", "found "+config.Describe(keys)+"; allowed: a mapping")
	}
	out := map[string]string{}
	for i := 0; i+1 < len(keys.Content); i += 2 {
		k, v := keys.Content[i], keys.Content[i+1]
		if v.Kind != yaml.ScalarNode || v.ShortTag() != "!!str" {
			return nil, refuse(v.Line, "data."+printable(k.Value), fmt.Sprintf("found %s; allowed: text, as in %s: \"true\"", config.Describe(v), printable(k.Value)))
		}
		out[k.Value] = v.Value
	}
	return out, nil
}
