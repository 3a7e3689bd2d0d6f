package deploy

import (
	"bytes"
	"os"
	"reflect"
	"regexp"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestCommentedDefaults holds the defaults that values.yaml shows as comments to
// those of defaults/native.yaml, which are in force.
func TestCommentedDefaults(t *testing.T) {
	data, err := os.ReadFile("helm/berth/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := readValues(t, data)
	data, err = os.ReadFile("helm/berth/defaults/native.yaml")
	if err != nil {
		t.Fatal(err)
	}
	setMissing(want, readValues(t, data))
	if got := shown(t); !reflect.DeepEqual(got, want) {
		t.Errorf("values.yaml shows\n%v, in force are\n%v", got, want)
	}
}

// shown returns values.yaml with the comments that show a default: a name right
// behind the #, and what is indented below it.
func shown(t *testing.T) map[string]any {
	t.Helper()
	data, err := os.ReadFile("helm/berth/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	begins, goesOn := regexp.MustCompile(`^#( {2})?[a-zA-Z]+:`), regexp.MustCompile(`^# {2}`)
	var text []byte
	in := false
	for line := range bytes.Lines(data) {
		if in = begins.Match(line) || in && goesOn.Match(line); in {
			line = line[1:]
		}
		text = append(text, line...)
	}
	return readValues(t, text)
}

func readValues(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var values map[string]any
	if err := yaml.UnmarshalStrict(data, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// setMissing sets in values what only defaults has, as the chart does.
func setMissing(values, defaults map[string]any) {
	for name, value := range defaults {
		below, ok := values[name].(map[string]any)
		more, also := value.(map[string]any)
		if ok && also {
			setMissing(below, more)
		} else if _, ok := values[name]; !ok {
			values[name] = value
		}
	}
}
