package standin

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// YAML is the translation as a native configuration file. A note about a class
// is a comment at that class, and any other is one at the top.
func (t *Translation) YAML() ([]byte, error) {
	doc := *t.doc
	top := []string{"Translated from the configuration of the established static provisioner."}
	about := map[string][]string{}
	for _, n := range t.Notes {
		if class, ok := t.classOf(n); ok {
			about[class] = append(about[class], n.String())
		} else {
			top = append(top, n.String())
		}
	}
	if classes := get(&doc, "classes"); classes != nil {
		for _, c := range classes.Content {
			c.HeadComment = comment(about[get(c, "name").Value])
		}
	}
	var b bytes.Buffer
	fmt.Fprintln(&b, comment(top))
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&doc); err != nil {
		return nil, fmt.Errorf("writing configuration: %w", err)
	}
	return b.Bytes(), e.Close()
}

// classOf is the class that a note is about.
func (t *Translation) classOf(n Note) (string, bool) {
	if n.File != keyClasses {
		return "", false
	}
	for _, c := range t.Agent.Classes {
		if at := printable(c.Name); n.Field == at || strings.HasPrefix(n.Field, at+".") {
			return c.Name, true
		}
	}
	return "", false
}

func comment(lines []string) string {
	for i := range lines {
		lines[i] = "# " + lines[i]
	}
	return strings.Join(lines, "\n")
}
