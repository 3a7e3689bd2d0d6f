package volume

import (
	"strings"
	"testing"
)

// TestGiveUp: only a carved volume that is not in its pool, and that no claim
// has, is forgotten at a person's word, whatever state it is in.
func TestGiveUp(t *testing.T) {
	bound := &PV{Name: "pv", UID: "u", ResourceVersion: "5", Claim: &Claim{"ns", "c", "uid"}}
	released := *bound
	released.Released, released.Delete, released.Held = true, true, true
	for name, c := range map[string]struct {
		edit    func(*Input)
		refused string
	}{
		"lost":                {func(*Input) {}, ""},
		"missing in its pool": {func(in *Input) { in.Away, in.Looked = "", true }, ""},
		"its claim released":  {func(in *Input) { in.PV, in.Absent, in.Answer = &released, false, "5" }, ""},
		"found":               {func(in *Input) { in.Record.Carved = nil }, "not carved"},
		"there":               {func(in *Input) { in.Disk = &Disk{} }, "it is in pool p"},
		"not looked at yet":   {func(in *Input) { in.Away = "" }, "not known yet"},
		"not asked for":       {func(in *Input) { in.Absent = false }, "API server has not said"},
		"PV not confirmed":    {func(in *Input) { in.PV, in.Absent = &released, false }, "API server has not said"},
		"a claim has it":      {func(in *Input) { in.PV, in.Absent, in.Answer = bound, false, "5" }, "delete that claim first"},
		"asked already":       {func(in *Input) { in.Record.Asked = Erase }, "under way"},
	} {
		for _, state := range []State{Used, Quarantined, Published, Wiping} {
			r := Record{ID: "id", State: state, Entry: "pvc-uid", Identity: "carved:pvc-uid", Carved: &Carved{Pool: "p"}}
			in := Input{Record: &r, Absent: true, Away: "nothing is mounted there"}
			c.edit(&in)
			next, err := Obey(in, Command{Word: GiveUp, At: "now"})
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("%s, %s: %v, want %q", name, state, err, c.refused)
				}
				continue
			}
			if err != nil || next.State != Quarantined || next.Asked != GiveUp || next.AskedAt != "now" || next.Reason == "" {
				t.Errorf("%s, %s: %+v (%v)", name, state, next, err)
				continue
			}
			in.Record, in.PV, in.Absent = next, nil, true
			if d := Decide(in); d.Verb != Forget {
				t.Errorf("%s, %s: then %+v", name, state, d)
			}
		}
	}
}
