package volume

import (
	"encoding/json"
	"testing"
)

// everyInput calls f with each combination of what a decision may rest on.
func everyInput(f func(Input)) {
	type place struct {
		disk   *Disk
		looked bool
	}
	places := []place{
		{nil, true}, {nil, false}, {goodDisk(), true}, {goodDisk(keeps), true}, {goodDisk(device), true}, {goodDisk(refused), true},
		{goodDisk(markable(nil)), true}, {goodDisk(markable(markOf("m1", nil))), true}, {goodDisk(markable(markOf("m2", &claimA))), true},
		{goodDisk(markable(markOf("m0", &claimB))), true}, {goodDisk(markable(markOf("m0", &claimB)), keeps), true},
		{goodDisk(keeps, refused), true}, {goodDisk(device, refused), true}, {goodDisk(moved), true}, {goodDisk(grown), true},
		{goodDisk(copied), true}, {goodDisk(keeps, copied), true}, {goodDisk(device, copied), true}, {goodDisk(remade), true},
	}
	records := []*Record{
		nil, record(Used, on("wwid:1")), record(Wiping, on("wwid:1")), record(Clean), record(Published), record(Published, noUID), record(Withdrawing), record(Withdrawing, leaves),
		record(Used), record(Used, func(r *Record) { r.Claim = nil }), record(Used, func(r *Record) { r.PV.Version = "" }),
		record(Clean, bears("m0")), record(Published, bears("m1")), record(Published, noUID, bears("m1"), func(r *Record) { r.MarkBefore = "m0" }),
		record(Published, noUID, bears("m1"), bare),
		record(Used, bears("m2")), record(Wiping, bears("m1")), record(Quarantined, bears("m1")),
		record(Quarantined, asked(Release)), record(Quarantined, asked(Republish)), record(Quarantined, asked(Erase)), record(Quarantined, asked("sell")),
		record(Wiping, asked(Erase)), record(Wiped, asked(Erase)), record(Returning), record(Returning, noUID), record(Returning, leaves),
		record(Wiping), record(Wiped), record(Quarantined), record("Zapped"), record(Quarantined, lost), record(Quarantined, lost, illegible), record(Quarantined, lost, func(r *Record) { r.Identity = "" }),
	}
	type answer struct {
		pv     *PV
		absent bool
		fresh  string
		left   string
	}
	answers := []answer{{nil, true, "", ""}, {nil, false, "", ""}, {nil, true, "", "u1"}, {nil, true, "", "u2"}}
	bools := []bool{false, true}
	for _, claim := range []*Claim{nil, &claimA, &claimB, {Namespace: "ns", Name: "a"}} {
		for bits := range 64 {
			pv := available(func(p *PV) { p.Claim = claim })
			pv.Released, pv.Delete, pv.Deleting, pv.Held = bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0
			if bits&16 != 0 {
				pv.UID = "u2"
			}
			if bits&32 != 0 {
				pv.ResourceVersion = "5"
			}
			answers = append(answers, answer{pv, false, "", ""}, answer{pv, false, pv.ResourceVersion, ""})
		}
	}
	for _, p := range places {
		for _, r := range records {
			for _, a := range answers {
				for _, empty := range []*bool{nil, &yes, &no} {
					for _, rival := range bools {
						in := Input{Node: "node-1", Token: "m3", Disk: p.disk, Looked: p.looked, Record: r, PV: a.pv, Absent: a.absent, Answer: a.fresh, Left: a.left, Empty: empty}
						if rival {
							in.Rival = "pv0"
						}
						f(in)
					}
				}
			}
		}
	}
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func show(in Input) string {
	text, err := json.Marshal(in)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func TestEveryDecision(t *testing.T) {
	seen := 0
	everyInput(func(in Input) {
		seen++
		record, pv := valueOf(in.Record), valueOf(in.PV)
		d := Decide(in)
		if valueOf(in.Record) != record || valueOf(in.PV) != pv {
			t.Fatalf("Decide changed its input, now %s", show(in))
		}
		from := State("new")
		if in.Record != nil {
			from = in.Record.State
		}
		require := func(ok bool, rule string) { // without t.Helper, which is slow
			if !ok {
				t.Fatalf("%s: %s: decided %s %+v\nfor %s", from, rule, d.Verb, d.Record, show(in))
			}
		}
		switch d.Verb {
		case Wipe:
			require(in.Disk.Mark == nil || in.Disk.Mark.ID == record.Mark || agrees(in) || in.Empty != nil && *in.Empty, "wipes nobody else's data")
			require(in.Disk.Copy == "" && (in.Record.Medium == "" || in.Disk.Medium == "" || in.Record.Medium == in.Disk.Medium), "wipes no copy")
			require(from == Wiping, "wipes only what is recorded to be wiped")
			require(in.Disk != nil && !in.Disk.Keep, "wipes only a disk that is there and may be wiped")
			require(record.Asked == "" || in.PV == nil && in.Absent, "wipes for a person only what the API server says has no PV")
		case SetMark:
			require(in.Disk.Markable && in.Disk.Refused == "" && in.Rival == "" && d.Record.Mark != "", "marks only what may be")
			require(from == Published || from == Used || from == Returning || from == Quarantined && (in.Disk.Mark == nil || in.Disk.Mark.ID == record.MarkBefore), "marks only what was handed out, or is about to be")
		case Publish:
			require(!in.Disk.Markable || in.Disk.Mark != nil && in.Disk.Mark.ID == record.Mark, "publishes only what is marked")
			require(!in.Disk.Markable || in.Disk.Keep || from == Returning || in.Disk.Mark.Claim == nil, "publishes only what no claim had")
			require(from == Published || from == Withdrawing && in.Disk.Keep || from == Returning, "publishes only what is recorded to be clean, or a claim's own")
			require(from != Returning || d.Record.State == Returning && d.Record.Claim != nil, "gives a claim's data to that claim only")
			require(in.Disk != nil && in.Disk.Refused == "" && in.Disk.Copy == "" && in.Rival == "" && in.PV == nil, "publishes only what may be")
		case Withdraw:
			require(in.PV != nil && !in.PV.Deleting, "withdraws only what is there")
			over := in.PV.Claim != nil && in.PV.Released && (from == Wiped || from == Quarantined)
			require(in.PV.Free() || over, "withdraws only what no claim has")
		case LetGo:
			require(in.PV != nil && in.PV.Deleting && in.PV.Held, "lets go only what is being deleted")
			require(in.PV.Free() || in.PV.Released, "lets go only what no claim has")
			other := in.PV.Claim == nil && in.PV.UID != in.Record.PV.UID
			require(from != Withdrawing || in.Record.PV.Leaving || other, "lets go only what it recorded to leave")
			require(from != Used && from != Wiping && (from != Published || other), "lets go only at a record that lasts")
		case Confirm:
			require(in.PV == nil && !in.Absent || in.PV != nil && in.Answer == "", "asks only for what it does not know")
		case Examine:
			require(in.Disk.Copy == "", "takes nothing from one of several")
			require(in.Empty == nil && in.Disk != nil && !in.Disk.Device, "examines only a directory, once")
		case Keep:
			requireStep(from, in, d.Record, require)
		}
	})
	if seen < 100_000 {
		t.Errorf("only %d inputs were tried", seen)
	}
}

// requireStep checks one step from state to state.
func requireStep(from State, in Input, to *Record, require func(bool, string)) {
	require(in.Record == nil || *in.Record != *to, "writes only what is new")
	same := to.Identity == testIdentity || from == Quarantined && to.Identity == in.Record.Identity // a damaged record may have none
	require(to.ID == IDOf(testIdentity) && same, "keeps the identity")
	if to.State == Wiping && from == Quarantined {
		require(in.Record.Asked == Erase && to.Asked == Erase, "wipes only what a person asked for")
		require(in.PV == nil && in.Absent, "wipes for a person only what the API server says has no PV")
		require(in.Disk != nil && !in.Disk.Keep, "wipes only a disk that is there and may be wiped")
	} else if to.State == Wiping {
		require(to.Asked == "", "nobody asked")
		require(from == Used && in.PV != nil && in.PV.Claim != nil && in.PV.Released && in.PV.Delete, "wipes only after a release with policy Delete")
		require(to.PV.UID == in.PV.UID, "records the PV that was seen released")
		require(in.Disk != nil && !in.Disk.Keep, "wipes only a disk that is there and may be wiped")
		require(in.Disk.Copy == "", "wipes no copy")
		require(in.PV.UID == in.Record.PV.UID, "a release of another PV says nothing of the data")
	}
	mayKeep := in.Disk != nil && in.Disk.Keep
	switch from {
	case Used:
		require(to.State == Used || to.State == Wiping || to.State == Quarantined ||
			mayKeep && (to.State == Wiped || to.State == Clean), "a used volume is wiped, held back or kept")
	case Wiping:
		require(to.State == Used || to.State == Quarantined, "only a wipe ends wiping well")
	case Quarantined:
		if in.Record.Lost != "" && in.Record.Asked == "" {
			bound := in.PV != nil && in.PV.Claim != nil && !in.PV.Released && !in.PV.Deleting && in.Answer == in.PV.ResourceVersion && in.Record.Lost == Used
			harmless := in.PV == nil && in.Absent && in.Disk != nil && (in.Disk.Keep || !in.Disk.Device && in.Empty != nil && *in.Empty)
			held := to.State == Quarantined && (to.Lost == "" || to.Mark != in.Record.Mark)
			require(held || to.State == Used && bound || to.State == Clean && harmless, "rebuilds only what is certain")
			break
		}
		want := map[Word]State{Release: Clean, Republish: Returning, Erase: Wiping}[in.Record.Asked]
		noted := to.State == Quarantined && to.Mark != in.Record.Mark && in.Record.Asked == ""
		require(noted || in.Record.Asked != "" && (to.State == Quarantined || to.State == want), "only a person ends a quarantine")
		require(to.State == Quarantined || in.PV == nil && in.Absent && to.PV.UID == "", "a PV from before is gone by then")
		require(noted || to.State != Quarantined || to.Asked == "" && to.Reason != "", "a word that is not carried out is taken back")
	case Returning:
		back := to.State == Used && in.PV.Claim.Name == in.Record.Claim.Name && in.PV.Claim.UID != ""
		require(to.State == Returning || to.State == Quarantined || back, "a claim's data goes back to that claim, or is held back")
	case Published, Withdrawing:
		emptied := in.PV == nil && in.Absent && in.Empty != nil && *in.Empty
		left := in.PV == nil && in.Absent && (in.Record.PV.Leaving || in.Left != "" && in.Left == in.Record.PV.UID)
		require(to.State != Clean || emptied || left, "clean only after leaving unclaimed, or found empty")
		require(to.State != Wiped && to.State != Wiping, "an unclaimed volume is not wiped")
	}
	if note := from == Withdrawing && in.Record.PV.Leaving && !to.PV.Leaving; in.PV != nil && in.PV.Claim != nil && from != Returning && !note {
		require(to.State == Used || to.State == Wiping || to.State == Quarantined || from == Used && mayKeep && to.State == Wiped,
			"a claim on the PV makes it used")
	}
}

// Following Keep decisions alone must end, and soon: the agent looks again at once after each.
func TestDecisionsSettle(t *testing.T) {
	everyInput(func(in Input) {
		start := in
		for range 5 {
			d := Decide(in)
			if d.Verb != Keep {
				return
			}
			in.Record = d.Record
		}
		t.Fatalf("still writing the journal after 5 steps, last %+v\nfor %s", in.Record, show(start))
	})
}
