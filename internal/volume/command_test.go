package volume

import (
	"strings"
	"testing"
)

func asked(w Word) func(*Record) {
	return func(r *Record) {
		r.Asked, r.AskedAt, r.Reason = w, "then", "doubt"
		r.Claim = &Claim{Namespace: claimA.Namespace, Name: claimA.Name}
		if r.State != Quarantined {
			r.PV.UID, r.PV.Version, r.Reason = "", "", ""
		}
	}
}

func ofNobodyYet(p *PV) { p.Claim = &Claim{Namespace: claimA.Namespace, Name: claimA.Name} }

// held is all that a command is given about a volume that it is obeyed for.
func held(edit ...func(*Input)) Input {
	in := Input{Disk: goodDisk(), Looked: true, Absent: true, Record: record(Quarantined, func(r *Record) { r.Claim = &claimA })}
	for _, e := range edit {
		e(&in)
	}
	return in
}

// carvedHeld is the same of a volume out of a pool.
func carvedHeld(edit func(*Input)) Input {
	in := Input{Looked: true, Absent: true, Record: carvedRecord(Quarantined, false, ""), Found: carvedOf,
		Disk: &Disk{Identity: CarvedIdentity("pvc-uid"), Class: "c", Entry: "pvc-uid", Path: "h", CapacityBytes: 10}}
	if edit != nil {
		edit(&in)
	}
	return in
}

// Every state, and every command: only one that is quarantined is obeyed.
func TestCommandsByState(t *testing.T) {
	for _, s := range []State{Clean, Published, Withdrawing, Used, Wiping, Wiped, Quarantined, Returning, "Zapped"} {
		for _, w := range append(Words, "sell") {
			in := held(func(in *Input) { in.Record = record(s, func(r *Record) { r.Claim = &claimA }) })
			before := *in.Record
			got, err := Obey(in, Command{Word: w, At: "now"})
			if *in.Record != before {
				t.Fatalf("%s, %s: the record was changed", s, w)
			}
			if s != Quarantined || w == "sell" {
				if err == nil {
					t.Errorf("%s, %s: obeyed", s, w)
				}
				continue
			}
			if err != nil || got.State != Quarantined || got.Asked != w || got.AskedAt != "now" || got.Reason == "" {
				t.Errorf("%s, %s: got %+v, %v", s, w, got, err)
			}
		}
	}
	if _, err := Obey(Input{}, Command{Word: Erase}); err == nil {
		t.Error("a volume that is not known is wiped")
	}
}

func TestCommandsRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Input
		cmd  Command
		says string // "" when it is obeyed
	}{
		{"no disk", held(func(in *Input) { in.Disk = nil }), Command{Word: Erase}, "not there"},
		{"another disk", held(func(in *Input) { in.Disk = goodDisk(func(d *Disk) { d.Identity = "fs:2:/" }) }), Command{Word: Erase}, "not the volume's"},
		{"nothing said of a PV", held(func(in *Input) { in.Absent = false }), Command{Word: Erase}, "has not said"},
		{"a PV of the cache only", held(func(in *Input) { in.PV = released() }), Command{Word: Erase}, "has not said"},
		{"bound", held(func(in *Input) { in.PV, in.Answer = bound(), "20" }), Command{Word: Release}, "ns/a has it"},
		{"released", held(func(in *Input) { in.PV, in.Answer = released(), "20" }), Command{Word: Erase}, ""},
		{"available", held(func(in *Input) { in.PV, in.Answer = available(), "20" }), Command{Word: Erase}, ""},
		{"for a claim that has not come", held(func(in *Input) { in.PV, in.Answer = available(ofNobodyYet), "20" }), Command{Word: Erase}, ""},
		{"asked already", held(func(in *Input) { in.Record = record(Quarantined, asked(Release)) }), Command{Word: Erase}, "under way"},
		{"a rival", held(func(in *Input) { in.Rival = "pv0" }), Command{Word: Release}, "another disk's"},
		{"refused, release", held(func(in *Input) { in.Disk = goodDisk(refused) }), Command{Word: Release}, "read-only"},
		{"refused, republish", held(func(in *Input) { in.Disk = goodDisk(refused) }), Command{Word: Republish}, "read-only"},
		{"refused, wipe", held(func(in *Input) { in.Disk = goodDisk(device, refused) }), Command{Word: Erase}, ""},
		{"shared, wipe", held(func(in *Input) { in.Disk = goodDisk(keeps) }), Command{Word: Erase}, "never wiped"},
		{"shared, release", held(func(in *Input) { in.Disk = goodDisk(keeps) }), Command{Word: Release}, ""},
		{"claim not known", held(func(in *Input) { in.Record.Claim = nil }), Command{Word: Republish}, "--claim"},
		{"claim named", held(func(in *Input) { in.Record.Claim = nil }), Command{Word: Republish, Claim: &claimB}, ""},
		{"carved, release", carvedHeld(nil), Command{Word: Release}, "carved for one claim"},
		{"carved, wipe", carvedHeld(nil), Command{Word: Erase}, ""},
		{"carved, republish", carvedHeld(nil), Command{Word: Republish}, ""},
		{"carved, without a record, release", carvedHeld(func(in *Input) { in.Record.Carved = nil }), Command{Word: Release}, "carved for one claim"},
		{"carved, not there", carvedHeld(func(in *Input) { in.Disk, in.Found, in.Away = nil, nil, "nothing is mounted there" }), Command{Word: Erase}, "in its pool now: nothing is mounted there; bring"},
		{"claim named for nothing", held(), Command{Word: Erase, Claim: &claimB}, "only republish"},
	} {
		_, err := Obey(c.in, c.cmd)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
	}
}

// A record that was damaged says only that the volume is held back. All else is
// taken from the disk that has its ID.
func TestCommandForDamagedRecord(t *testing.T) {
	in := held(func(in *Input) { in.Record = &Record{ID: IDOf(testIdentity), State: Quarantined, Reason: "damaged"} })
	got, err := Obey(in, Command{Word: Erase})
	if err != nil || got.Identity != testIdentity || got.Class != "fast" || got.Entry != "d1" || got.Root != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := Obey(in, Command{Word: Republish}); err == nil {
		t.Error("republished for no claim")
	}
}

// Republish forgets the claim's UID: the claim that takes the data may be made anew.
func TestRepublishForgetsTheUID(t *testing.T) {
	for _, c := range []*Claim{nil, &claimB} {
		got, err := Obey(held(), Command{Word: Republish, Claim: c})
		want := "ns/a"
		if c != nil {
			want = "ns/b"
		}
		if err != nil || got.Claim.UID != "" || got.Claim.String() != want {
			t.Errorf("got claim %+v, %v; want %s without a UID", got, err, want)
		}
	}
}

func TestParseClaim(t *testing.T) {
	for _, bad := range []string{"", "a", "/a", "a/", "a/b/c", "a/b c"} {
		if c, err := ParseClaim(bad); err == nil {
			t.Errorf("%q gives %v", bad, c)
		}
	}
	if c, err := ParseClaim("ns/a"); err != nil || *c != (Claim{Namespace: "ns", Name: "a"}) {
		t.Errorf("got %v, %v", c, err)
	}
}

func TestDecideOnceAsked(t *testing.T) {
	keep := func(s State) Decision { return Decision{Verb: Keep, Record: record(s)} }
	wait := func(c Cause) Decision { return Decision{Verb: Wait, Cause: c} }
	do := func(v Verb) Decision { return Decision{Verb: v} }
	q := func(w Word) *Record { return record(Quarantined, asked(w)) }
	wiping := record(Wiping, asked(Erase))
	for _, c := range []struct {
		name string
		in   Input
		want Decision
	}{
		{"PV not in the cache", Input{Disk: goodDisk(), Record: q(Erase)}, do(Confirm)},
		{"PV in the cache", Input{Disk: goodDisk(), Record: q(Erase), PV: released()}, do(Confirm)},
		{"PV released", Input{Disk: goodDisk(), Record: q(Erase), PV: released(), Answer: "20"}, do(Withdraw)},
		{"PV deleted", Input{Disk: goodDisk(), Record: q(Erase), PV: released(deleting), Answer: "20"}, do(LetGo)},
		{"PV held by others", Input{Disk: goodDisk(), Record: q(Erase), PV: released(deleting, unheld), Answer: "20"}, wait(Held)},
		{"PV bound meanwhile", Input{Disk: goodDisk(), Record: q(Erase), PV: bound(), Answer: "20"}, keep(Quarantined)},
		{"release", Input{Disk: goodDisk(), Record: q(Release), Absent: true}, keep(Clean)},
		{"republish", Input{Disk: goodDisk(), Record: q(Republish), Absent: true}, keep(Returning)},
		{"wipe", Input{Disk: goodDisk(), Record: q(Erase), Absent: true}, keep(Wiping)},
		{"wipe, disk gone meanwhile", Input{Looked: true, Record: q(Erase), Absent: true}, wait(Held)},
		{"wipe, shared meanwhile", Input{Disk: goodDisk(keeps), Record: q(Erase), Absent: true}, keep(Quarantined)},

		{"wiping, API server not asked", Input{Disk: goodDisk(), Record: wiping}, do(Confirm)},
		{"wiping", Input{Disk: goodDisk(), Record: wiping, Absent: true}, do(Wipe)},
		{"wiping, PV again", Input{Disk: goodDisk(), Record: wiping, PV: released(), Answer: "20"}, keep(Quarantined)},
		{"wiping, disk gone", Input{Looked: true, Record: wiping, Absent: true}, wait(Gone)},
		{"wiping, shared meanwhile", Input{Disk: goodDisk(keeps), Record: wiping, Absent: true}, keep(Quarantined)},
		{"wiped", Input{Disk: goodDisk(), Record: record(Wiped, asked(Erase)), Absent: true}, keep(Published)},

		{"to return", Input{Disk: goodDisk(), Record: record(Returning, noUID)}, do(Publish)},
		{"to return, refused", Input{Disk: goodDisk(refused), Record: record(Returning, noUID)}, wait(Refused)},
		{"to return, disk gone", Input{Looked: true, Record: record(Returning, noUID)}, do(Nothing)},
		{"returning, PV made", Input{Disk: goodDisk(), Record: record(Returning, noUID), PV: available(ofNobodyYet)}, keep(Returning)},
		{"returning", Input{Disk: goodDisk(), Record: record(Returning), PV: available(ofNobodyYet)}, do(Nothing)},
		{"returned", Input{Disk: goodDisk(), Record: record(Returning), PV: bound()}, keep(Used)},
		{"returned before that was noted", Input{Disk: goodDisk(), Record: record(Returning, noUID), PV: bound()}, keep(Used)},
		{"returning, PV for anybody", Input{Disk: goodDisk(), Record: record(Returning), PV: available()}, keep(Quarantined)},
		{"returning, PV another claim's", Input{Disk: goodDisk(), Record: record(Returning), PV: bound(ofClaimB)}, keep(Quarantined)},
		{"returning, deleted by hand", Input{Disk: goodDisk(), Record: record(Returning), PV: available(ofNobodyYet, deleting)}, keep(Quarantined)},
		{"returning, PV not in the cache", Input{Disk: goodDisk(), Record: record(Returning)}, do(Confirm)},
		{"returning, PV forced away", Input{Disk: goodDisk(), Record: record(Returning), Absent: true}, keep(Quarantined)},
		{"returning, disk gone", Input{Looked: true, Record: record(Returning), PV: available(ofNobodyYet)}, keep(Returning)},
		{"returning, disk gone, noted", Input{Looked: true, Record: record(Returning, leaves), PV: available(ofNobodyYet)}, do(Withdraw)},
		{"returning, disk gone, deleted", Input{Looked: true, Record: record(Returning, leaves), PV: available(ofNobodyYet, deleting)}, do(LetGo)},
		{"returning, disk back", Input{Disk: goodDisk(), Record: record(Returning, leaves), PV: available(ofNobodyYet)}, keep(Returning)},
		{"returning, withdrawn", Input{Looked: true, Record: record(Returning, leaves), Absent: true}, keep(Returning)},
		{"held back again, PV for a claim that has not come", Input{Disk: goodDisk(), Record: record(Quarantined), PV: available(ofNobodyYet, deleting)}, do(LetGo)},
	} {
		t.Run(c.name, func(t *testing.T) { checkDecision(t, c.in, c.want) })
	}
}

// TestReturningAndAnOldRelease: a restored database may bring back the PV of an
// earlier claim of the same name, whose release is not the present data's.
func TestReturningAndAnOldRelease(t *testing.T) {
	old := released(otherUID, func(p *PV) { p.Claim = &Claim{Namespace: claimA.Namespace, Name: claimA.Name, UID: "earlier"} })
	d := Decide(Input{Disk: goodDisk(), Looked: true, Record: record(Returning, noUID), PV: old, Answer: old.ResourceVersion})
	if d.Verb != Keep || d.Record.State != Quarantined {
		t.Errorf("decided %s %+v", d.Verb, d.Record)
	}
}
