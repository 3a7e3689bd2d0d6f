package shelf

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/berth-storage/berth/internal/pool"
)

// TestStrangers: what others have put into a pool's directory keeps nothing from
// the pool but its bytes, and is as it was after all that the pool does.
func TestStrangers(t *testing.T) {
	_, _, dir := withOld(t)
	files := map[string]int{
		"mine/notes":          3 * Unit,
		"file":                2 * Unit,
		"My Files/a":          Unit,
		"empty/":              0,
		".gone-mine/data/x":   Unit, // beside which there is a file that no shelf makes
		".gone-mine/notes":    Unit,
		".new-My Files/x":     Unit,
		"lost+found/#1":       Unit,
		"copy-of-old/data/x":  Unit,
		"copy-of-old/other/x": Unit,
	}
	for name, bytes := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if name == "empty/" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, bytes), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	promise, err := os.ReadFile(filepath.Join(dir, "old", specFile))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "copy-of-old", specFile), promise, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := everything(t, dir)

	s, _, err := open(t, dir, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	bytes := int64(0)
	for _, stranger := range s.Strangers() {
		names = append(names, stranger.Name)
		bytes += stranger.Bytes
	}
	if want := []string{".gone-mine", ".new-My Files", "My Files", "copy-of-old", "empty", "file", "mine"}; !slices.Equal(names, want) {
		t.Errorf("the strangers are %q, want %q", names, want)
	}
	if least := int64(11 * Unit); bytes < least {
		t.Errorf("they take %d bytes, which is less than the %d that were written", bytes, least)
	}
	room, err := s.Room(t.Context())
	if err != nil || room.Free != max(0, room.Total-old.Bytes-bytes)/Unit*Unit || room.Free == 0 {
		t.Errorf("with %d bytes of strangers the room is %+v (%v)", bytes, room, err)
	}
	if all, err := s.Volumes(t.Context()); err != nil || !slices.Equal(all, []pool.Volume{old}) {
		t.Errorf("the volumes are %v (%v)", all, err)
	}
	for _, taken := range []pool.ID{"mine", "empty", "file", "copy-of-old"} {
		if _, err := s.Carve(t.Context(), pool.Spec{ID: taken, Bytes: Unit, Mode: pool.Filesystem}); !errors.Is(err, pool.ErrDiffers) {
			t.Errorf("carving %s: %v, want %v", taken, err, pool.ErrDiffers)
		}
		err := s.Remove(t.Context(), taken)
		if restIsStrange := taken == "mine"; (err != nil) != restIsStrange {
			t.Errorf("removing %s: %v", taken, err)
		}
	}
	if err := errors.Join(carve(fresh)(t.Context(), s), s.Remove(t.Context(), fresh.ID)); err != nil {
		t.Error(err)
	}
	if after := everything(t, dir); !slices.Equal(after, before) {
		t.Errorf("there was\n%q\nand now is\n%q", before, after)
	}
}

// everything is the names of all that is beneath a directory.
func everything(t *testing.T, dir string) (names []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

// TestFileBesideAVolume: what somebody has put beside a volume's data does not
// keep that from being erased.
func TestFileBesideAVolume(t *testing.T) {
	s, _, dir := withOld(t)
	if err := os.WriteFile(filepath.Join(dir, "old", "notes"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), "old"); err == nil {
		t.Error("removed, with somebody's file in it")
	}
	left, err := os.ReadDir(filepath.Join(dir, leaving+"old"))
	if err != nil || len(left) != 1 || left[0].Name() != "notes" {
		t.Errorf("left is %v (%v)", left, err)
	}
	s, _, err = open(t, dir, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	if all := s.Strangers(); len(all) != 1 || all[0].Name != leaving+"old" {
		t.Errorf("the strangers are %v", all)
	}
}
