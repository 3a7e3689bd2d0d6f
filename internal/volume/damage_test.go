package volume

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// files returns all that is in a directory.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range namesIn(t, dir) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(data)
	}
	return out
}

// TestOneNewerRecordStopsAll: nothing is changed in a journal that a newer
// version has worked on, be it damaged or torn elsewhere, and the error says
// which file, which versions, and what to do.
func TestOneNewerRecordStopsAll(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Put(fullRecord()); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"00-damaged.json": "rubbish", ".tmp-1": "torn",
		"ff-newer.json": string(sealed(journalVersion+6, []byte(`{"what":"nobody knows"}`))),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := files(t, dir)
	_, err := OpenJournal(dir)
	if !errors.Is(err, ErrNewer) {
		t.Fatalf("got %v, want ErrNewer", err)
	}
	for _, part := range []string{"ff-newer.json", "version 7", "up to 1", "start that version again"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if after := files(t, dir); !maps.Equal(before, after) {
		t.Errorf("the journal was changed: %q, was %q", after, before)
	}
}

// TestEveryDamageIsNoticed opens a journal for every truncation of a record and
// every bit of it flipped: its volume is always there, quarantined, and the file
// is kept; what a neighbour's record says is untouched.
func TestEveryDamageIsNoticed(t *testing.T) {
	dir := t.TempDir()
	good, err := encodeRecord(fullRecord())
	if err != nil {
		t.Fatal(err)
	}
	other := fullRecord()
	other.ID, other.Identity = IDOf("fs:other:/"), "fs:other:/"
	neighbour, err := encodeRecord(other)
	if err != nil {
		t.Fatal(err)
	}
	id := fullRecord().ID
	path := filepath.Join(dir, string(id)+".json")
	memory := &Journal{dir: dir, aside: map[ID][]byte{}}
	seen := map[State]int{}
	try := func(bad []byte) {
		r, err := decodeRecord(bad)
		if err == nil || errors.Is(err, ErrNewer) {
			t.Fatalf("%q is taken for %+v, %v", bad, r, err)
		}
		r = memory.noteDamage(id, path, bad, err)
		if r.ID != id || r.State != Quarantined || r.Reason == "" || !bytes.Equal(memory.aside[id], bad) {
			t.Fatalf("%q gives %+v", bad, r)
		}
		seen[r.Lost]++
	}
	for n := range good {
		try(good[:n])
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[n] ^= 1 << bit
			try(bad)
		}
	}
	if seen[Used] == 0 || seen[Illegible] == 0 || len(seen) != 2 {
		t.Errorf("what is left tells the states %v", seen)
	}
	// The same through the files, which is slow, for some.
	for n := 0; n < len(good); n += len(good)/20 + 1 {
		for _, bad := range [][]byte{good[:n], append(append(bytes.Clone(good[:n]), good[n]^64), good[n+1:]...)} {
			for name, data := range map[string][]byte{path: bad, filepath.Join(dir, string(other.ID)+".json"): neighbour} {
				if err := os.WriteFile(name, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			j := open(t, dir)
			if r, ok := j.Get(id); !ok || r.State != Quarantined || len(j.All()) != 2 || len(j.Damaged()) != 1 {
				t.Fatalf("%q gives %+v, %v", bad, r, ok)
			}
			if r, _ := j.Get(other.ID); !reflect.DeepEqual(r, other) {
				t.Fatalf("the neighbour's record is %+v", r)
			}
			if kept, err := os.ReadFile(path + ".damaged"); err != nil || !bytes.Equal(kept, bad) {
				t.Fatalf("set aside: %q, %v", kept, err)
			}
		}
	}
}

// TestDamagedStates: a record whose remains name a state in which a wipe may
// have begun, or a person was to decide, is never rebuilt.
func TestDamagedStates(t *testing.T) {
	for state, want := range map[State]State{Clean: Clean, Published: Published, Used: Used, Withdrawing: "", Wiping: "", Wiped: "", Quarantined: ""} {
		r := fullRecord()
		r.State = state
		data, err := encodeRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-3] ^= 1
		if got := lostState(data); got != want {
			t.Errorf("of a damaged record that says %s is left %q, want %q", state, got, want)
		}
	}
}

// TestRecordsHaveNoTimes: no decision rests on the clock of the node, which may
// jump: neither what is recorded nor what is decided on has a time in it.
func TestRecordsHaveNoTimes(t *testing.T) {
	var visit func(in reflect.Type, seen []reflect.Type)
	visit = func(in reflect.Type, seen []reflect.Type) {
		if in == reflect.TypeFor[time.Time]() || in == reflect.TypeFor[time.Duration]() {
			t.Errorf("there is a time in %v", seen)
		}
		switch in.Kind() {
		case reflect.Pointer, reflect.Slice:
			visit(in.Elem(), seen)
		case reflect.Struct:
			if slices.Contains(seen, in) {
				return
			}
			for i := range in.NumField() {
				visit(in.Field(i).Type, append(slices.Clone(seen), in))
			}
		}
	}
	visit(reflect.TypeFor[Record](), nil)
	visit(reflect.TypeFor[Input](), nil)
}
