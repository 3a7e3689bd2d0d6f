package standin

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/config"
)

var seeds = [][3]string{
	{"fast:\n  hostDir: /mnt/disks\n  mountDir: /mnt/disks\n  blockCleanerCommand: [/scripts/shred.sh, 2]\n  volumeMode: Block\n", "a : b\nc: 1.10\n", "5m0s"},
	{"a: &a\n  hostDir: /mnt/a/\n  mountDir: //mnt/a\n  namePattern: 'a*, b?'\nb:\n  <<: *a\n  namePattern: \"*\"\n", "yes: no", "1s"},
	{"a: {hostDir: /dev/disk/kubernetes, mountDir: /dev/disk/kubernetes, selector: [{matchExpressions: [{key: rack, operator: In, values: [1]}]}]}", "{}", ""},
	{"a: &a {<<: *a}", "~", "[]"},
	{"[a", "a: b\na: c", "0"},
}

// FuzzTranslate: Translate never panics. What it refuses has a key and a line,
// and what it accepts is, written out, accepted by config.Decode as the same.
func FuzzTranslate(f *testing.F) {
	for _, s := range seeds {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, classes, labels, resync string) {
		tr, err := Translate(map[string]string{keyClasses: classes, keyLabels: labels, keyResync: resync, keyJob: "yes"})
		if err != nil {
			var refused *config.Errors
			if !errors.As(err, &refused) || len(refused.Problems) == 0 {
				t.Fatalf("refused with %#v", err)
			}
			for _, p := range refused.Problems {
				if p.File == "" || p.Line < 1 || p.Message == "" || strings.Contains(p.String(), "\n") {
					t.Fatalf("a problem is %+v", p)
				}
			}
			return
		}
		roundTrip(t, tr)
	})
}

// FuzzMeaning: what both this package and the established provisioner's library
// read means the same to both.
func FuzzMeaning(f *testing.F) {
	for _, s := range seeds {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, classes, labels string) {
		data := map[string]string{keyClasses: classes, keyLabels: labels}
		want, err := asThere(data)
		got, problems, here := asHere(data)
		if err != nil || here != nil || problems > 0 {
			return
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("here  %+v\nthere %+v", got, want)
		}
	})
}

// roundTrip holds that a translation written as native YAML says the same.
func roundTrip(t *testing.T, tr *Translation) {
	t.Helper()
	text, err := tr.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := config.Decode("native", text, nil)
	if err != nil {
		t.Fatalf("%s%v", text, err)
	}
	want := *tr.Agent
	want.Classes = append([]config.Class(nil), want.Classes...)
	for i := range want.Classes {
		want.Classes[i].Line, again.Classes[i].Line = 0, 0
	}
	if !reflect.DeepEqual(again, &want) {
		t.Errorf("%s\ngives %+v\nwant  %+v", text, again, &want)
	}
}
