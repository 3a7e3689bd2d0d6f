package main

import (
	"reflect"
	"testing"
)

func TestTargets(t *testing.T) {
	got := targets("?   \texample/a\t[no test files]\nFuzzOne\nFuzzTwo\nok  \texample/b\t0.01s\nok  \texample/c\t0.01s\nFuzzThree\nok  \texample/d\t(cached)\n")
	if want := map[string][]string{"example/b": {"FuzzOne", "FuzzTwo"}, "example/d": {"FuzzThree"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
