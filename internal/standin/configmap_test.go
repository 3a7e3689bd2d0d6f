package standin

import (
	"maps"
	"testing"
)

func TestConfigMapData(t *testing.T) {
	got, err := ConfigMapData("f", []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n  useJobForCleaning: \"yes\"\n  storageClassMap: |\n    a:\n      hostDir: /mnt/a\n"))
	if want := map[string]string{keyJob: "yes", keyClasses: "a:\n  hostDir: /mnt/a\n"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	for text, want := range map[string]string{
		"":                                  "f:1: found an empty file; allowed: an object of kind: ConfigMap",
		"a: [":                              "f:1: not YAML: did not find expected node content",
		"- a":                               "f:1: found a list; allowed: an object of kind: ConfigMap",
		"data: {}":                          "f:1: kind: missing; allowed: an object of kind: ConfigMap",
		"kind: Secret\ndata: {}":            `f:1: kind: found "Secret"; allowed: ConfigMap`,
		"kind: ConfigMap":                   "f:1: data: missing; a ConfigMap's keys stand there",
		"kind: ConfigMap\ndata: []":         "f:2: data: found a list; allowed: a mapping",
		"kind: ConfigMap\ndata:\n  a: true": `f:3: data.a: found the boolean true; allowed: text, as in a: "true"`,
	} {
		if got, err := ConfigMapData("f", []byte(text)); err == nil || err.Error() != want || got != nil {
			t.Errorf("%q: %q, %v\nwant %s", text, got, err, want)
		}
	}
}
