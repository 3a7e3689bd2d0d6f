package volume

import (
	"fmt"
	"testing"
)

// The values that the parts of an input about a carved volume can have.
var (
	carvedClaim = Claim{Namespace: "a", Name: "b", UID: "uid"}
	carvedOther = Claim{Namespace: "a", Name: "b", UID: "other"}
	carvedOf    = &Carved{Pool: "fast", Bytes: 10}
)

func carvedRecord(s State, asked bool, word Word) *Record {
	c := *carvedOf
	c.Asked = asked
	r := Record{Identity: CarvedIdentity("pvc-uid"), Class: "c", Entry: "pvc-uid", State: s, Carved: &c, Claim: &carvedClaim}
	r.ID = IDOf(r.Identity)
	switch s {
	case Published, Returning:
		r.PV = PVRef{Name: "pvc-uid"}
	case Used, Wiping, Wiped, Quarantined:
		r.PV = PVRef{Name: "pvc-uid", UID: "pv", Version: "5"}
	}
	if word != "" {
		r.Asked, r.AskedAt, r.PV = word, "now", PVRef{Name: "pvc-uid"}
	}
	return &r
}

// everyCarved calls try with each combination.
func everyCarved(try func(Input)) {
	records := []*Record{nil}
	for _, s := range []State{Carving, Published, Used, Wiping, Wiped, Quarantined, Returning} {
		records = append(records, carvedRecord(s, false, ""))
	}
	for _, s := range []State{Carving, Used, Wiping, Wiped, Quarantined} {
		records = append(records, carvedRecord(s, true, ""))
	}
	records = append(records, carvedRecord(Wiping, false, Erase), carvedRecord(Quarantined, false, Erase), carvedRecord(Quarantined, false, Republish))
	var pvs []*PV
	pvs = append(pvs, nil)
	for _, uid := range []string{"pv", "pv2"} {
		for _, claim := range []*Claim{nil, &carvedClaim, &carvedOther} {
			for bits := range 16 {
				pvs = append(pvs, &PV{Name: "pvc-uid", UID: uid, ResourceVersion: "7", Identity: CarvedIdentity("pvc-uid"), Class: "c", Path: "h", CapacityBytes: 10, Claim: claim,
					Released: claim != nil && bits&1 != 0, Delete: bits&2 != 0, Deleting: bits&4 != 0, Held: bits&8 != 0})
			}
		}
	}
	wants := []*Want{nil}
	for _, node := range []string{"", "here", "there"} {
		for bits := range 8 {
			w := Want{Claim: carvedClaim, Class: "c", Bytes: 10, Node: node, Deleting: bits&1 != 0}
			if bits&2 != 0 {
				w.PV, w.HasBytes = "pvc-uid", 10
			}
			if bits&4 != 0 {
				w.Bytes = 20
			}
			wants = append(wants, &w)
		}
	}
	type offer struct {
		carve *Carved
		unmet *Refusal
	}
	offers := []offer{{}, {carve: carvedOf}, {unmet: &Refusal{"no", true}}, {unmet: &Refusal{"no", false}}}
	for _, r := range records {
		for _, pv := range pvs {
			for _, want := range wants {
				for _, o := range offers {
					for bits := range 8 {
						in := Input{Record: r, PV: pv, Want: want, Carve: o.carve, Unmet: o.unmet, Node: "here", Looked: true, Token: "t"}
						if bits&1 != 0 {
							in.Disk = &Disk{Identity: CarvedIdentity("pvc-uid"), Class: "c", Entry: "pvc-uid", Path: "h", CapacityBytes: 10}
							in.Found = carvedOf
						} else {
							in.Looked = bits&2 != 0
						}
						if pv != nil {
							in.Found = carvedOf
							if bits&4 != 0 {
								in.Answer = pv.ResourceVersion
							}
						} else {
							in.Absent = bits&4 != 0
						}
						if want != nil && pv != nil && want.Bytes > 10 {
							in.GrowTo = want.Bytes
						}
						if in.carved() {
							try(in)
						}
					}
				}
			}
		}
	}
}

// TestEveryCarvedDecision holds, over every combination of what can be known, what
// must never happen to a volume of a pool.
func TestEveryCarvedDecision(t *testing.T) {
	seen := 0
	everyCarved(func(in Input) {
		seen++
		from, record := State("new"), valueOf(in.Record)
		if in.Record != nil {
			from = in.Record.State
		}
		d := Decide(in)
		require := func(ok bool, rule string) {
			if !ok {
				t.Fatalf("%s: %s: decided %s %+v\nfor %s, want %+v", from, rule, d.Verb, d.Record, show(in), in.Want)
			}
		}
		require(valueOf(in.Record) == record, "changes no input")
		named := in.Record != nil && in.Record.Carved.Asked
		switch d.Verb {
		case Wipe:
			require(from == Wiping && in.Disk != nil, "wipes only what is recorded to be wiped, and there")
			require(in.PV == nil || named || in.PV.Claim != nil && in.PV.Released && in.PV.Delete && in.PV.UID == record.PV.UID, "wipes nothing that a PV keeps")
		case Carve:
			require(from == Carving && in.PV == nil && in.wanted() && in.Carve != nil, "carves only for a claim that waits here")
			require(d.Record.State == Published && d.Record.PV.UID == "", "offers what it has carved")
		case Uncarve:
			require(from == Carving && in.PV == nil && in.Disk != nil, "undoes only what nobody has had")
		case Publish:
			require(in.PV == nil && in.Disk != nil && (from == Published && in.wanted() || from == Returning), "publishes only what is made, for a claim that waits")
		case GiveBack:
			require(in.wanted() && in.PV == nil && in.Unmet.Elsewhere && (from == "new" || from == Carving), "gives back only an unmet choice")
		case Grow:
			require(from == Used && in.PV != nil && !in.PV.Released && in.Disk != nil && in.Want.Bytes >= in.PV.CapacityBytes, "grows only what a claim has")
		case Forget:
			require(in.Disk == nil && (in.PV == nil || named), "forgets only what is gone")
			require(from == Carving && in.Looked || from == Wiped && in.Absent || named && (from == Wiping || from == Wiped) && in.Looked, "forgets only what nobody has any more")
		case Withdraw:
			require(!in.PV.Deleting && (in.PV.Free() || in.PV.Released), "withdraws only what no claim has")
		case LetGo:
			require(in.PV.Deleting && in.PV.Held && (from == Wiped || from == Quarantined || in.PV.Free()), "lets go only at a record that lasts")
		case Confirm:
			require(in.PV == nil && !in.Absent || in.PV != nil && in.Answer == "", "asks only for what it does not know")
		case Keep:
			to := d.Record
			require(in.Record == nil || record != *to, "writes only what is new")
			require(to.Carved != nil && to.Entry == "pvc-uid" && to.ID == IDOf(CarvedIdentity("pvc-uid")), "keeps the identity")
			switch to.State {
			case Carving:
				require(in.PV == nil && (from == "new" && in.Disk == nil && in.wanted() || from == Published && in.Absent), "begins only for a claim that waits here")
			case Wiping:
				word := from == Quarantined && record.Asked == Erase && in.PV == nil && in.Absent
				release := from == Used && in.PV.Claim != nil && in.PV.Released && in.PV.Delete && in.PV.UID == to.PV.UID
				require(release || word || from == Wiped, "wipes only after a release or a person's word")
			case Wiped:
				require(from == Wiping && in.Disk == nil && in.Looked, "is wiped only when it is gone")
			case Published, Withdrawing, Clean:
				require(false, "is never offered to another claim")
			}
		}
	})
	if seen < 100_000 {
		t.Errorf("only %d inputs were tried", seen)
	}
}

// TestCarvedLife leads a volume through its life by the decisions alone.
func TestCarvedLife(t *testing.T) {
	in := Input{Node: "here", Looked: true, Token: "t", Carve: carvedOf, Want: &Want{Claim: carvedClaim, Class: "c", Bytes: 10, Node: "here"}}
	disk := &Disk{Identity: CarvedIdentity("pvc-uid"), Class: "c", Entry: "pvc-uid", Path: "h", CapacityBytes: 10}
	var way []string
	for range 30 {
		d := Decide(in)
		if d.Verb == Keep {
			way = append(way, string(d.Record.State))
			in.Record = d.Record
			continue
		}
		way = append(way, "("+string(d.Verb)+")")
		switch d.Verb {
		case Carve:
			in.Record, in.Disk, in.Found = d.Record, disk, carvedOf
		case Publish:
			in.PV = &PV{Name: "pvc-uid", UID: "pv", ResourceVersion: "7", Identity: disk.Identity, Class: "c", Path: "h", CapacityBytes: 10, Claim: &carvedClaim, Delete: true, Held: true}
		case Nothing: // bound and used, then released
			in.Want, in.Found = nil, carvedOf
			in.PV = &PV{Name: "pvc-uid", UID: "pv", ResourceVersion: "9", Identity: disk.Identity, Class: "c", Path: "h", CapacityBytes: 10, Claim: &carvedClaim, Delete: true, Held: true, Released: true}
		case Wipe:
			in.Disk = nil
		case Withdraw:
			in.PV.Deleting = true
		case LetGo:
			in.PV = nil
		case Confirm:
			in.Absent = true
		case Forget:
			want := "[Carving (Carve) (Publish) Used (Nothing) Wiping (Wipe) Wiped (Withdraw) (LetGo) (Confirm) (Forget)]"
			if got := fmt.Sprint(way); got != want {
				t.Errorf("the way was %s; want %s", got, want)
			}
			return
		}
	}
	t.Errorf("the life does not end: %v", way)
}
