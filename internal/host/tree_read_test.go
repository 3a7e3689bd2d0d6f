package host

import (
	"encoding/binary"
	"slices"
	"testing"
)

// dirent is what getdents64(2) gives for one name.
func dirent(name string, kind byte) []byte {
	length := (19 + len(name) + 1 + 7) &^ 7
	b := make([]byte, length)
	binary.NativeEndian.PutUint16(b[16:], uint16(length))
	b[18] = kind
	copy(b[19:], name)
	return b
}

func TestParse(t *testing.T) {
	buf := slices.Concat(dirent(".", 4), dirent("dir", 4), dirent("..", 4), dirent("a\nb\xff", 8), dirent("unknown", 0), dirent("...", 10))
	got, err := parse(buf)
	want := []Entry{{"dir", true}, {"a\nb\xff", false}, {"unknown", false}, {"...", false}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, broken := range [][]byte{buf[:10], buf[:20], make([]byte, 24)} {
		if _, err := parse(broken); err == nil {
			t.Errorf("%d broken bytes were taken", len(broken))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(slices.Concat(dirent(".", 4), dirent("dir", 4)))
	f.Add(make([]byte, 24))
	f.Fuzz(func(t *testing.T, buf []byte) {
		entries, err := parse(buf)
		if err == nil && len(entries) > len(buf)/19 {
			t.Errorf("%d entries of %d bytes", len(entries), len(buf))
		}
	})
}
