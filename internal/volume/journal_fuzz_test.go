package volume

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// FuzzDamagedRecord: a record that was cut, overwritten or joined with another
// is never taken for a record that nobody has written.
func FuzzDamagedRecord(f *testing.F) {
	one, err := encodeRecord(fullRecord())
	if err != nil {
		f.Fatal(err)
	}
	before := fullRecord()
	before.State, before.Claim, before.Offset = Published, nil, 0
	two, err := encodeRecord(before)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint(10), uint(0), []byte("x"))
	f.Add(uint(0), uint(len(two)), []byte(nil))
	f.Add(uint(90), uint(90), []byte(nil))
	f.Add(uint(400), uint(1), []byte{0, 0, 0, 0})
	f.Add(uint(len(one)), uint(len(two)), one[:80])
	f.Fuzz(func(t *testing.T, cut, from uint, middle []byte) {
		// The head of one, something, and the tail of the other: a torn write, a
		// lost sector, two blocks of different times.
		data := bytes.Join([][]byte{one[:min(cut, uint(len(one)))], middle, two[min(from, uint(len(two))):]}, nil)
		r, err := decodeRecord(data)
		switch {
		case bytes.Equal(data, one) && err == nil && reflect.DeepEqual(r, fullRecord()), bytes.Equal(data, two) && err == nil && reflect.DeepEqual(r, before):
			return
		case err == nil || errors.Is(err, ErrNewer):
			t.Errorf("%q is taken for %+v, %v", data, r, err)
		}
		if s := lostState(data); s == Used && !bytes.Contains(data, []byte(`"state": "Used"`)) {
			t.Errorf("%q is said to have been %s", data, s)
		}
	})
}
