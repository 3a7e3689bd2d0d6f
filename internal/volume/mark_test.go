package volume

import (
	"reflect"
	"testing"
)

func TestMarkText(t *testing.T) {
	m := Mark{ID: "m1", Node: "node-1", PV: "pv1", Claim: &claimA}
	text, err := m.Text()
	if err != nil {
		t.Fatal(err)
	}
	if got := ReadMark(text); !reflect.DeepEqual(*got, m) {
		t.Errorf("read %+v, want %+v", got, m)
	}
	for i := range text { // each byte counts
		for _, bad := range [][]byte{text[:i], append(append(append([]byte{}, text[:i]...), text[i]^1), text[i+1:]...)} {
			if got := ReadMark(bad); got.Unread == "" || got.ID == "" || got.ID == m.ID {
				t.Errorf("damaged at %d it is %+v", i, got)
			}
		}
	}
	newer := sealedMark(markVersion+1, []byte(`{"id":"m1"}`))
	if got := ReadMark(newer); got.Unread != "version 2 is not known" {
		t.Errorf("a newer version's is %+v", got)
	}
	if got := ReadMark(sealedMark(markVersion, []byte(`{}`))); got.Unread == "" {
		t.Error("one without an ID is read")
	}
}
