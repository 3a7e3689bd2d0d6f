package standin

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/berth-storage/berth/internal/config"
)

// cases calls each for the archives of a directory. Their files are keys, but
// for the file want.
func cases(t *testing.T, dir string, each func(t *testing.T, data map[string]string, want string)) {
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal("found no cases", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			data, want := map[string]string{}, ""
			for _, f := range archive.Files {
				if f.Name == "want" {
					want = string(f.Data)
				} else {
					data[f.Name] = string(f.Data)
				}
			}
			each(t, data, want)
		})
	}
}

// Each archive of testdata/translated is a configuration and what it becomes.
func TestTranslated(t *testing.T) {
	cases(t, "translated", func(t *testing.T, data map[string]string, want string) {
		if _, err := asThere(data); err != nil {
			t.Errorf("the established provisioner refuses it: %v", err)
		}
		tr, err := Translate(data)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tr.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		roundTrip(t, tr)
	})
}

// Each archive of testdata/refused is a malformed configuration and the lines
// it is refused with.
func TestRefused(t *testing.T) {
	cases(t, "refused", func(t *testing.T, data map[string]string, want string) {
		tr, err := Translate(data)
		var refused *config.Errors
		if !errors.As(err, &refused) || tr != nil {
			t.Fatalf("got %+v and %v", tr, err)
		}
		if got := err.Error() + "\n"; got != want {
			t.Errorf("refused with\n%s\nwant\n%s", got, want)
		}
	})
}

// The agent gets what the file says, with the lines of the classes.
func TestTranslatedAgent(t *testing.T) {
	tr, err := Translate(map[string]string{keyClasses: "\nfast:\n  hostDir: /mnt/disks/\n  mountDir: /mnt//disks\n"})
	if err != nil {
		t.Fatal(err)
	}
	want := &config.Agent{RescanInterval: 5 * time.Minute, Classes: []config.Class{{
		Name: "fast", HostDir: "/mnt/disks", MountDir: "/mnt/disks", VolumeMode: config.Filesystem, AccessMode: config.ReadWriteOnce, NamePattern: "*", WhenGone: config.Report,
		Wipe: config.Wipe{Method: config.WipeSignatures, Passes: 1, Timeout: config.DefaultWipeTimeout}, Line: 2,
	}}}
	if !reflect.DeepEqual(tr.Agent, want) || len(tr.Notes) != 0 {
		t.Errorf("got  %+v %v\nwant %+v", tr.Agent, tr.Notes, want)
	}
}

// Names with blanks match as they do there.
func TestBlanksInPatterns(t *testing.T) {
	tr, err := Translate(map[string]string{keyClasses: "a: {hostDir: /mnt/a, mountDir: /mnt/a, namePattern: 'nvme*, sd?,\tx '}"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"nvme0": true, "sda": false, " sda": true, "x": false, "\tx ": true} {
		if got := tr.Agent.Classes[0].Matches(name); got != want {
			t.Errorf("%q is matched: %v", name, got)
		}
	}
	if len(tr.Notes) != 2 {
		t.Errorf("notes are %v", tr.Notes)
	}
}

// A few lines of aliases cannot keep the agent busy.
func TestAliasesMultiply(t *testing.T) {
	text := "a: {selector: &a [{matchExpressions: &b [{key: k, operator: In, values: &c [" + strings.Repeat("x, ", 1000) + "]}"
	text += strings.Repeat(", {values: *c}", 1000) + "]}" + strings.Repeat(", {matchExpressions: *b}", 1000) + "]}\n"
	_, err := Translate(map[string]string{keyClasses: text, keyLabels: "[]"})
	want := "storageClassMap:1: its aliases make more than 262144 values of it; write them out"
	if err == nil || err.Error() != want {
		t.Errorf("got %.300v", err)
	}
}
