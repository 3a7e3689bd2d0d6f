package standin

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The established provisioner reads YAML 1.1 and passes it on as JSON. So the
// plain words of these lists are booleans there, and a number or a boolean
// where text is wanted is that value written out anew: 1.10 is the text 1.1.
var (
	trueWords  = []string{"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"}
	falseWords = []string{"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"}
)

// isPlain reports whether a scalar has neither quotes nor a tag, so that its
// type depends on how it looks.
func isPlain(n *yaml.Node) bool {
	const marked = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle | yaml.TaggedStyle
	return n.Kind == yaml.ScalarNode && n.Style&marked == 0
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// asBoolean reads a boolean.
func asBoolean(n *yaml.Node) (value, ok bool) {
	if !isPlain(n) {
		return false, false
	}
	if slices.Contains(trueWords, n.Value) {
		return true, true
	}
	return false, slices.Contains(falseWords, n.Value)
}

// asText reads a scalar where text is wanted.
func asText(n *yaml.Node) (string, bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		return "", false
	case n.ShortTag() == "!!null":
		return "", true
	case !isPlain(n):
		return n.Value, n.ShortTag() == "!!str"
	}
	if b, ok := asBoolean(n); ok {
		return strconv.FormatBool(b), true
	}
	var value any
	if tag := n.ShortTag(); tag != "!!int" && tag != "!!float" || n.Decode(&value) != nil {
		return n.Value, true // dates, too, are the text that stands there
	}
	switch v := value.(type) {
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 32), true // 32 bits are what it keeps
	}
	return n.Value, true
}

// asWhole reads a whole number.
func asWhole(n *yaml.Node) (int64, bool) {
	var v int64
	if !isPlain(n) || n.ShortTag() != "!!int" || n.Decode(&v) != nil {
		return 0, false
	}
	return v, true
}

// asKey reads a mapping's key.
func asKey(n *yaml.Node) (string, bool) {
	if isNull(n) {
		return "", false
	}
	return asText(n)
}

// printable is a name as it stands in a message: in quotes when it would not be
// clear where it ends.
func printable(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` || s == "" || strings.ContainsAny(s, " :.[") {
		return q
	}
	return s
}
