package volume

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/berth-storage/berth/internal/disk"
)

func fullRecord() Record {
	return Record{ID: IDOf(testIdentity), Identity: testIdentity, Class: "fast", Entry: "d 1\n", State: Used, Medium: "wwid:1",
		PV: PVRef{Name: "pv1", UID: "u1", Version: "7", Leaving: true}, Claim: &Claim{"ns", "a", "ca"},
		Root: &disk.Owner{UID: 1, GID: 2, Mode: 0o3755}, Offset: 4096, OffsetOf: "Erase", Reason: "because"}
}

func open(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestJournalKeepsRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	j := open(t, dir)
	want := fullRecord()
	for _, s := range []State{Clean, Published, Used} { // a later record takes the place of an earlier
		want.State = s
		if err := j.Put(want); err != nil {
			t.Fatal(err)
		}
	}
	for _, j := range []*Journal{j, open(t, dir)} {
		got, ok := j.Get(want.ID)
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v\nwant %+v", got, ok, want)
		}
		if all := j.All(); len(all) != 1 || !reflect.DeepEqual(all[0], want) {
			t.Errorf("all: %+v", all)
		}
		if _, ok := j.Get(IDOf("other")); ok {
			t.Error("got a record that was never put")
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v; want it private", info.Mode(), err)
	}
	if names := namesIn(t, dir); len(names) != 1 {
		t.Errorf("files: %q, want one", names)
	}
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestJournalLeavesOthersFilesAlone(t *testing.T) {
	dir := t.TempDir()
	torn := filepath.Join(dir, ".tmp-123")
	others := []string{"README", "x.json.damaged", "x.json~", ".hidden"}
	for _, name := range append(others, filepath.Base(torn)) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half a rec"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if all := open(t, dir).All(); len(all) != 0 {
		t.Errorf("records: %+v, want none", all)
	}
	if _, err := os.Stat(torn); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the torn temporary file is still there: %v", err)
	}
	for _, name := range others {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(data) != "half a rec" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

// requireQuarantined opens a journal whose one file holds data, and sees that
// the volume is held back and the file's bytes are kept.
func requireQuarantined(t *testing.T, dir string, data []byte, what string) {
	t.Helper()
	id := fullRecord().ID
	path := filepath.Join(dir, string(id)+".json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second start finds the quarantine written down
		got, ok := open(t, dir).Get(id)
		if !ok || got.State != Quarantined || got.Reason == "" || got.ID != id {
			t.Fatalf("%s: got %+v, %v; want it quarantined", what, got, ok)
		}
	}
	if kept, err := os.ReadFile(path + ".damaged"); err != nil || !bytes.Equal(kept, data) {
		t.Fatalf("%s: set aside: %q, %v", what, kept, err)
	}
}

func TestDamagedRecordsAreQuarantined(t *testing.T) {
	good, err := encodeRecord(fullRecord())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	requireQuarantined(t, dir, nil, "empty")
	requireQuarantined(t, dir, bytes.Repeat([]byte{0}, len(good)), "zeroes")
	requireQuarantined(t, dir, append(good[:len(good):len(good)], 'x'), "longer")
	other := fullRecord()
	other.ID = IDOf("other")
	misplaced, err := encodeRecord(other)
	if err != nil {
		t.Fatal(err)
	}
	requireQuarantined(t, dir, misplaced, "another volume's")
}

// No damage to a file, of whatever kind, is taken for a record.
func TestNoDamageIsAccepted(t *testing.T) {
	good, err := encodeRecord(fullRecord())
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(data []byte, what string) {
		t.Helper()
		if r, err := decodeRecord(data); err == nil || errors.Is(err, ErrNewer) {
			t.Errorf("%s: got %+v, %v; want it refused as damaged", what, r, err)
		}
	}
	for n := range good {
		refuse(good[:n], fmt.Sprintf("cut to %d bytes", n))
		for _, flip := range []byte{1, 2, 4, 8, 16, 32, 64, 128, 255} {
			bad := bytes.Clone(good)
			bad[n] ^= flip
			refuse(bad, fmt.Sprintf("byte %d (%q) is %q", n, good[n], bad[n]))
		}
	}
}

func TestNewerJournalIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, string(fullRecord().ID)+".json")
	data := sealed(journalVersion+1, []byte(`{"what":"nobody knows"}`))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := OpenJournal(dir)
	if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want ErrNewer with the file's name", err)
	}
	if names := namesIn(t, dir); len(names) != 1 {
		t.Errorf("files: %q, want the one", names)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, data) {
		t.Errorf("the file has changed: %q, %v", now, err)
	}
}

// A record being replaced by its quarantine is there at every moment, so that
// a crash in between does not make its volume look new.
func TestDamagedRecordIsNeverMissing(t *testing.T) {
	dir := t.TempDir()
	id := fullRecord().ID
	if err := os.WriteFile(filepath.Join(dir, string(id)+".json"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Setting aside cannot be finished: a directory is where the copy goes.
	if err := os.Mkdir(filepath.Join(dir, string(id)+".json.damaged"), 0o700); err != nil {
		t.Fatal(err)
	}
	j := open(t, dir)
	if all := j.Damaged(); len(all) != 1 || all[0].ID != id || all[0].Kept == nil || !strings.Contains(all[0].String(), string(id)+".json") {
		t.Errorf("damage: %v", all)
	}
	if r, ok := j.Get(id); !ok || r.State != Quarantined || r.Lost != Illegible {
		t.Errorf("got %+v, %v; want it quarantined", r, ok)
	}
	if err := j.Put(fullRecord()); err == nil {
		t.Error("replaced, although the damaged file could not be kept")
	}
	if data, err := os.ReadFile(filepath.Join(dir, string(id)+".json")); err != nil || string(data) != "rubbish" {
		t.Errorf("the damaged file is %q, %v", data, err)
	}
	if err := os.Remove(filepath.Join(dir, string(id)+".json.damaged")); err != nil {
		t.Fatal(err)
	}
	if err := j.Put(fullRecord()); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, string(id)+".json.damaged")); err != nil || string(data) != "rubbish" {
		t.Errorf("set aside: %q, %v", data, err)
	}
	if _, err := os.Stat(filepath.Join(dir, string(id)+".json")); err != nil {
		t.Errorf("the record is gone: %v", err)
	}
}

func TestJournalFromSeveralGoroutines(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			r := fullRecord()
			r.Identity = disk.ID(fmt.Sprint("fs:", g))
			r.ID = IDOf(r.Identity)
			for n := range 10 {
				r.Offset = int64(n)
				if err := j.Put(r); err != nil {
					t.Error(err)
				}
				j.All()
				if got, _ := j.Get(r.ID); got.Offset != int64(n) {
					t.Errorf("got offset %d, want %d", got.Offset, n)
				}
			}
		})
	}
	all.Wait()
	again := open(t, dir).All()
	if len(again) != 4 {
		t.Fatalf("%d records, want 4", len(again))
	}
	for _, r := range again {
		if r.Offset != 9 {
			t.Errorf("%s: offset %d, want the last", r.Identity, r.Offset)
		}
	}
}

func TestFailedPutChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := j.Put(fullRecord()); err == nil {
		t.Fatal("Put succeeded without a directory")
	}
	if r, ok := j.Get(fullRecord().ID); ok {
		t.Errorf("got %+v, which is not on the disk", r)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(dir); err == nil {
		t.Error("opened a file as a directory")
	}
}

func FuzzDecodeRecord(f *testing.F) {
	good, err := encodeRecord(fullRecord())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:40])
	f.Add(sealed(journalVersion+1, []byte("{}")))
	f.Add(sealed(journalVersion, []byte("null")))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data)
		if err != nil {
			return
		}
		again, err := encodeRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeRecord(again); err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("got %+v, %v\nwant %+v", back, err, r)
		}
	})
}
