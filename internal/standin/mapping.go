package standin

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// mapping is a YAML mapping in the making.
type mapping struct {
	line    int
	content []*yaml.Node
}

// put adds a value, unless it is nil.
func (m *mapping) put(name string, value *yaml.Node) {
	if value != nil {
		m.content = append(m.content, scalar("!!str", name, value.Line), value)
	}
}

func (m *mapping) text(name, value string, line int) { m.put(name, scalar("!!str", value, line)) }

func (m *mapping) node() *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Line: m.line, Content: m.content}
}

// get returns a field's value, nil when there is none.
func get(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// dropEmpty takes the named fields out of a mapping where they are "".
func dropEmpty(n *yaml.Node, names ...string) {
	if n.Kind != yaml.MappingNode {
		return
	}
	var kept []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if v.Kind == yaml.ScalarNode && v.Value == "" && slices.Contains(names, k.Value) {
			continue
		}
		kept = append(kept, k, v)
	}
	n.Content = kept
}
