package volume

import (
	"testing"

	"github.com/berth-storage/berth/internal/disk"
)

// What the tests' volume looks like when nothing is the matter with it.
const (
	testIdentity = disk.ID("fs:0001:/")
	testPath     = "/mnt/disks/d1"
	gib          = int64(1) << 30
)

var (
	claimA = Claim{Namespace: "ns", Name: "a", UID: "ca"}
	claimB = Claim{Namespace: "ns", Name: "b", UID: "cb"}
	yes    = true
	no     = false
)

func goodDisk(edit ...func(*Disk)) *Disk {
	d := &Disk{Identity: testIdentity, Class: "fast", Entry: "d1", Path: testPath, CapacityBytes: 10 * gib, Root: &disk.Owner{Mode: 0o755}}
	for _, e := range edit {
		e(d)
	}
	return d
}

func available(edit ...func(*PV)) *PV {
	p := &PV{Name: "pv1", UID: "u1", ResourceVersion: "20", Identity: testIdentity, Class: "fast", Path: testPath, CapacityBytes: 10 * gib, Delete: true, Held: true}
	for _, e := range edit {
		e(p)
	}
	return p
}

func bound(edit ...func(*PV)) *PV {
	return available(append([]func(*PV){func(p *PV) { p.Claim = &claimA }}, edit...)...)
}

func released(edit ...func(*PV)) *PV {
	return bound(append([]func(*PV){func(p *PV) { p.Released = true }}, edit...)...)
}

func record(s State, edit ...func(*Record)) *Record {
	r := Record{ID: IDOf(testIdentity), Identity: testIdentity, Class: "fast", Entry: "d1", State: s, PV: PVRef{Name: "pv1", UID: "u1", Version: "10"}}
	switch s {
	case Clean:
		r.PV = PVRef{}
	case Used, Wiping, Wiped:
		r.Claim = &claimA
	case Returning:
		r.Claim = &Claim{Namespace: claimA.Namespace, Name: claimA.Name}
	case Quarantined:
		r.Reason = "doubt"
	}
	for _, e := range edit {
		e(&r)
	}
	return &r
}

func deleting(p *PV)      { p.Deleting = true }
func retain(p *PV)        { p.Delete = false }
func unheld(p *PV)        { p.Held = false }
func otherUID(p *PV)      { p.UID = "u2" }
func stale(p *PV)         { p.ResourceVersion = "5" }
func ofClaimB(p *PV)      { p.Claim = &claimB }
func keeps(d *Disk)       { d.Keep, d.Markable = true, false }
func refused(d *Disk)     { d.Refused = "is mounted read-only" }
func device(d *Disk)      { d.Device, d.Root = true, nil }
func moved(d *Disk)       { d.Entry, d.Path = "d9", "/mnt/disks/d9" }
func grown(d *Disk)       { d.CapacityBytes = 20 * gib }
func copied(d *Disk)      { d.Copy = "is there twice" }
func remade(d *Disk)      { d.Medium = "wwid:2" }
func lost(r *Record)      { r.Lost, r.PV, r.Class, r.Entry = Used, PVRef{}, "", "" }
func illegible(r *Record) { r.Lost = Illegible }
func noUID(r *Record)     { r.PV.UID, r.PV.Version = "", "" }
func bare(r *Record)      { r.Bare = true }
func leaves(r *Record) {
	r.PV.Leaving = true
}

func on(medium disk.ID) func(*Record) { return func(r *Record) { r.Medium = medium } }

func TestDecide(t *testing.T) {
	keep := func(s State) Decision { return Decision{Verb: Keep, Record: record(s)} }
	wait := func(c Cause) Decision { return Decision{Verb: Wait, Cause: c} }
	do := func(v Verb) Decision { return Decision{Verb: v} }
	for _, c := range []struct {
		name string
		in   Input
		want Decision // of Record only the state counts
	}{
		{"new disk", Input{Disk: goodDisk()}, keep(Published)},
		{"new disk, raw block", Input{Disk: goodDisk(device)}, keep(Published)},
		{"new disk, refused", Input{Disk: goodDisk(refused)}, wait(Refused)},
		{"new disk where a claimed PV of another points", Input{Disk: goodDisk(), Rival: "pv0"}, wait(Occupied)},
		{"nothing known, nothing there", Input{Looked: true}, do(Nothing)},
		{"journal lost, PV available", Input{Disk: goodDisk(), PV: available()}, keep(Published)},
		{"journal lost, PV bound", Input{Disk: goodDisk(), PV: bound()}, keep(Used)},
		{"journal lost, PV released", Input{Disk: goodDisk(), PV: released()}, keep(Used)},
		{"journal lost, disk gone, PV available", Input{Looked: true, PV: available()}, keep(Published)},
		{"journal lost, disk gone, PV bound", Input{Looked: true, PV: bound()}, keep(Used)},

		{"clean, disk there", Input{Disk: goodDisk(), Record: record(Clean)}, keep(Published)},
		{"new disk, and a copy", Input{Disk: goodDisk(copied)}, wait(Copied)},
		{"clean, and a copy", Input{Disk: goodDisk(copied), Record: record(Clean)}, wait(Copied)},
		{"to be published, and a copy", Input{Disk: goodDisk(copied), Record: record(Published, noUID)}, wait(Copied)},
		{"available, and a copy", Input{Disk: goodDisk(copied), Record: record(Published), PV: available()}, keep(Withdrawing)},
		{"bound, and a copy", Input{Disk: goodDisk(copied), Record: record(Used), PV: bound()}, wait(Copied)},
		{"released, and a copy", Input{Disk: goodDisk(copied), Record: record(Used), PV: released()}, wait(Copied)},
		{"being wiped, and a copy", Input{Disk: goodDisk(copied), Record: record(Wiping), PV: released()}, wait(Copied)},
		{"available, on another medium", Input{Disk: goodDisk(remade), Record: record(Published, on("wwid:1")), PV: available()}, keep(Published)},
		{"bound, on another medium", Input{Disk: goodDisk(remade), Record: record(Used, on("wwid:1")), PV: bound()}, wait(Copied)},
		{"released, on another medium", Input{Disk: goodDisk(remade), Record: record(Used, on("wwid:1")), PV: released()}, keep(Quarantined)},
		{"being wiped, on another medium", Input{Disk: goodDisk(remade), Record: record(Wiping, on("wwid:1")), PV: released()}, keep(Quarantined)},
		{"released, on a medium that was not known", Input{Disk: goodDisk(remade), Record: record(Used), PV: released()}, keep(Wiping)},
		{"damaged record, bound", Input{Disk: goodDisk(), Record: record(Quarantined, lost), PV: bound(), Answer: "20"}, keep(Used)},
		{"damaged record, bound as the cache says", Input{Disk: goodDisk(), Record: record(Quarantined, lost), PV: bound()}, do(Confirm)},
		{"illegible record, bound", Input{Disk: goodDisk(), Record: record(Quarantined, lost, illegible), PV: bound(), Answer: "20"}, wait(Held)},
		{"illegible record, empty directory", Input{Disk: goodDisk(), Record: record(Quarantined, lost, illegible), Absent: true, Empty: &yes}, keep(Clean)},
		{"damaged record, released", Input{Disk: goodDisk(), Record: record(Quarantined, lost), PV: released(), Answer: "20"}, wait(Held)},
		{"damaged record, available", Input{Disk: goodDisk(), Record: record(Quarantined, lost), PV: available(), Answer: "20"}, do(Withdraw)},
		{"damaged record, empty directory", Input{Disk: goodDisk(), Record: record(Quarantined, lost), Absent: true, Empty: &yes}, keep(Clean)},
		{"damaged record, directory with contents", Input{Disk: goodDisk(), Record: record(Quarantined, lost), Absent: true, Empty: &no}, wait(Held)},
		{"damaged record, device", Input{Disk: goodDisk(device), Record: record(Quarantined, lost), Absent: true}, wait(Held)},
		{"damaged record, read-only class", Input{Disk: goodDisk(keeps), Record: record(Quarantined, lost), Absent: true}, keep(Clean)},
		{"clean, disk gone", Input{Looked: true, Record: record(Clean)}, do(Nothing)},
		{"clean, disk refused", Input{Disk: goodDisk(refused), Record: record(Clean)}, wait(Refused)},
		{"clean, another's claimed PV at its place", Input{Disk: goodDisk(), Record: record(Clean), Rival: "pv0"}, wait(Occupied)},
		{"clean, restored database shows an available PV", Input{Disk: goodDisk(), Record: record(Clean), PV: available()}, keep(Published)},
		{"clean, restored database shows a claimed PV", Input{Disk: goodDisk(), Record: record(Clean), PV: bound()}, keep(Used)},

		{"to be published", Input{Disk: goodDisk(), Record: record(Published, noUID)}, do(Publish)},
		{"to be published, refused meanwhile", Input{Disk: goodDisk(refused), Record: record(Published, noUID)}, wait(Refused)},
		{"to be published, place taken meanwhile", Input{Disk: goodDisk(), Record: record(Published, noUID), Rival: "pv0"}, wait(Occupied)},
		{"to be published, disk gone meanwhile", Input{Looked: true, Record: record(Published, noUID)}, do(Nothing)},
		{"to be published, empty so far", Input{Disk: goodDisk(), Record: record(Published, noUID, bare)}, do(Examine)},
		{"to be published, still empty", Input{Disk: goodDisk(), Record: record(Published, noUID, bare), Empty: &yes}, do(Publish)},
		{"to be published, not empty any more", Input{Disk: goodDisk(), Record: record(Published, noUID, bare), Empty: &no}, do(Confirm)},
		{"PV gone before it was noted, not empty any more", Input{Disk: goodDisk(), Record: record(Published, noUID, bare), Empty: &no, Absent: true}, keep(Quarantined)},
		{"just published", Input{Disk: goodDisk(), Record: record(Published, noUID), PV: available()}, keep(Published)},
		{"published", Input{Disk: goodDisk(), Record: record(Published), PV: available()}, do(Nothing)},
		{"published, directory not readable", Input{Record: record(Published), PV: available()}, do(Nothing)},
		{"published and claimed", Input{Disk: goodDisk(), Record: record(Published), PV: bound()}, keep(Used)},
		{"published, claimed and released unseen", Input{Disk: goodDisk(), Record: record(Published), PV: released()}, keep(Used)},
		{"available, deleted by hand", Input{Disk: goodDisk(), Record: record(Published), PV: available(deleting)}, keep(Withdrawing)},
		{"available, disk gone", Input{Looked: true, Record: record(Published), PV: available()}, keep(Withdrawing)},
		{"available, disk moved", Input{Disk: goodDisk(moved), Record: record(Published), PV: available()}, keep(Withdrawing)},
		{"available, capacity changed", Input{Disk: goodDisk(grown), Record: record(Published), PV: available()}, keep(Withdrawing)},
		{"available, refused", Input{Disk: goodDisk(refused), Record: record(Published), PV: available()}, keep(Withdrawing)},

		{"PV not in the cache", Input{Disk: goodDisk(), Record: record(Published)}, do(Confirm)},
		{"PV forced away", Input{Disk: goodDisk(), Record: record(Published), Absent: true}, do(Examine)},
		{"PV forced away, directory empty", Input{Disk: goodDisk(), Record: record(Published), Absent: true, Empty: &yes}, keep(Clean)},
		{"PV forced away, directory not empty", Input{Disk: goodDisk(), Record: record(Published), Absent: true, Empty: &no}, keep(Quarantined)},
		{"PV forced away, raw block", Input{Disk: goodDisk(device), Record: record(Published), Absent: true}, keep(Quarantined)},
		{"PV forced away, shared", Input{Disk: goodDisk(keeps), Record: record(Published), Absent: true}, do(Publish)},
		{"PV forced away, disk gone", Input{Looked: true, Record: record(Published), Absent: true}, do(Nothing)},

		{"another PV in the cache", Input{Disk: goodDisk(), Record: record(Published), PV: available(otherUID)}, do(Confirm)},
		{"PV replaced", Input{Disk: goodDisk(), Record: record(Published), PV: available(otherUID), Answer: "20"}, do(Examine)},
		{"PV replaced, directory empty", Input{Disk: goodDisk(), Record: record(Published), PV: available(otherUID), Answer: "20", Empty: &yes}, keep(Published)},
		{"PV replaced by a claimed one, directory empty", Input{Disk: goodDisk(), Record: record(Published), PV: bound(otherUID), Answer: "20", Empty: &yes}, keep(Used)},
		{"PV replaced by a released one, directory not empty", Input{Disk: goodDisk(), Record: record(Published), PV: released(otherUID), Answer: "20", Empty: &no}, keep(Quarantined)},
		{"PV replaced, raw block", Input{Disk: goodDisk(device), Record: record(Published), PV: released(otherUID), Answer: "20"}, keep(Quarantined)},
		{"PV replaced, shared", Input{Disk: goodDisk(keeps), Record: record(Published), PV: available(otherUID), Answer: "20"}, keep(Published)},
		{"PV replaced, disk gone", Input{Looked: true, Record: record(Published), PV: available(otherUID), Answer: "20"}, do(Withdraw)},
		{"PV replaced by a claimed one, disk gone", Input{Looked: true, Record: record(Published), PV: bound(otherUID), Answer: "20"}, keep(Quarantined)},
		{"PV replaced while withdrawing", Input{Disk: goodDisk(), Record: record(Withdrawing, leaves), PV: available(otherUID), Answer: "20"}, keep(Withdrawing)},
		{"PV replaced, directory not readable", Input{Record: record(Published), PV: available(otherUID), Answer: "20"}, do(Nothing)},

		{"withdrawing", Input{Looked: true, Record: record(Withdrawing), PV: available()}, do(Withdraw)},
		{"withdrawing, deletion seen", Input{Looked: true, Record: record(Withdrawing), PV: available(deleting)}, keep(Withdrawing)},
		{"withdrawing, deletion recorded", Input{Looked: true, Record: record(Withdrawing, leaves), PV: available(deleting)}, do(LetGo)},
		{"withdrawing, another's finalizer", Input{Looked: true, Record: record(Withdrawing, leaves), PV: available(deleting, unheld)}, do(Nothing)},
		{"withdrawing, a claim was faster", Input{Looked: true, Record: record(Withdrawing), PV: bound()}, keep(Used)},
		{"withdrawing, disk back", Input{Disk: goodDisk(), Record: record(Withdrawing), PV: available()}, keep(Published)},
		{"withdrawing, disk back too late", Input{Disk: goodDisk(), Record: record(Withdrawing, leaves), PV: available(deleting)}, do(LetGo)},
		{"withdrawing, PV not in the cache", Input{Looked: true, Record: record(Withdrawing)}, do(Confirm)},
		{"withdrawn", Input{Looked: true, Record: record(Withdrawing, leaves), Absent: true}, keep(Clean)},
		{"withdrawing, PV forced away", Input{Disk: goodDisk(), Record: record(Withdrawing), Absent: true, Empty: &no}, keep(Quarantined)},
	} {
		t.Run(c.name, func(t *testing.T) { checkDecision(t, c.in, c.want) })
	}
}

func TestDecideOnceClaimed(t *testing.T) {
	keep := func(s State) Decision { return Decision{Verb: Keep, Record: record(s)} }
	wait := func(c Cause) Decision { return Decision{Verb: Wait, Cause: c} }
	do := func(v Verb) Decision { return Decision{Verb: v} }
	for _, c := range []struct {
		name string
		in   Input
		want Decision
	}{
		{"bound", Input{Disk: goodDisk(), Record: record(Used), PV: bound()}, do(Nothing)},
		{"bound to another claim by hand", Input{Disk: goodDisk(), Record: record(Used), PV: bound(ofClaimB)}, keep(Used)},
		{"bound, deleted by hand", Input{Disk: goodDisk(), Record: record(Used), PV: bound(deleting)}, do(Nothing)},
		{"bound, disk gone", Input{Looked: true, Record: record(Used), PV: bound()}, wait(Gone)},
		{"bound, directory not readable", Input{Record: record(Used), PV: bound()}, do(Nothing)},
		{"bound, disk moved", Input{Disk: goodDisk(moved), Record: record(Used), PV: bound()}, do(Nothing)},
		{"bound, capacity changed", Input{Disk: goodDisk(grown), Record: record(Used), PV: bound()}, do(Nothing)},
		{"bound, PV not in the cache", Input{Disk: goodDisk(), Record: record(Used)}, do(Confirm)},
		{"bound, PV forced away", Input{Disk: goodDisk(), Record: record(Used), Absent: true}, keep(Quarantined)},
		{"bound, PV forced away, shared", Input{Disk: goodDisk(keeps), Record: record(Used), Absent: true}, keep(Clean)},
		{"released", Input{Disk: goodDisk(), Record: record(Used), PV: released()}, keep(Wiping)},
		{"released, deleted by hand", Input{Disk: goodDisk(), Record: record(Used), PV: released(deleting)}, keep(Wiping)},
		{"released, shared or read-only", Input{Disk: goodDisk(keeps), Record: record(Used), PV: released()}, keep(Wiped)},
		{"released, disk gone", Input{Looked: true, Record: record(Used), PV: released()}, wait(Gone)},
		{"released, disk gone, deleted by hand", Input{Looked: true, Record: record(Used), PV: released(deleting)}, keep(Quarantined)},
		{"released, directory not readable, deleted by hand", Input{Record: record(Used), PV: released(deleting)}, do(Nothing)},
		{"released, Retain", Input{Disk: goodDisk(), Record: record(Used), PV: released(retain)}, do(Nothing)},
		{"released, Retain, deleted by hand", Input{Disk: goodDisk(), Record: record(Used), PV: released(retain, deleting)}, keep(Quarantined)},
		{"released from a claim not recorded", Input{Disk: goodDisk(), Record: record(Used), PV: released(ofClaimB)}, keep(Used)},
		{"claim taken off since", Input{Disk: goodDisk(), Record: record(Used), PV: available()}, do(Nothing)},
		{"claim taken off since, phase not caught up", Input{Disk: goodDisk(), Record: record(Used), PV: available(func(p *PV) { p.Released = true })}, do(Nothing)},
		{"claim taken off since, deleted by hand", Input{Disk: goodDisk(), Record: record(Used), PV: available(deleting)}, keep(Quarantined)},
		{"an old form of the PV in the cache", Input{Disk: goodDisk(), Record: record(Used), PV: available(stale)}, do(Confirm)},
		{"database restored to before the claim", Input{Disk: goodDisk(), Record: record(Used), PV: available(stale), Answer: "5"}, keep(Quarantined)},
		{"database restored to an earlier PV", Input{Disk: goodDisk(), Record: record(Used), PV: available(otherUID), Answer: "20"}, keep(Quarantined)},
		{"database restored to an earlier claim's release", Input{Disk: goodDisk(), Record: record(Used), PV: released(otherUID, ofClaimB), Answer: "20"}, keep(Quarantined)},
		{"database restored, shared", Input{Disk: goodDisk(keeps), Record: record(Used), PV: bound(otherUID, ofClaimB)}, keep(Used)},
		{"PV made again by hand for the same claim", Input{Disk: goodDisk(), Record: record(Used), PV: bound(otherUID)}, keep(Used)},
		{"database restored to before the PV", Input{Disk: goodDisk(), Record: record(Used), Absent: true}, keep(Quarantined)},

		{"wiping", Input{Disk: goodDisk(), Record: record(Wiping), PV: released()}, do(Wipe)},
		{"wiping, resumed, PV not in the cache", Input{Disk: goodDisk(), Record: record(Wiping)}, do(Wipe)},
		{"wiping, resumed, PV gone", Input{Disk: goodDisk(), Record: record(Wiping), Absent: true}, do(Wipe)},
		{"wiping, disk gone", Input{Looked: true, Record: record(Wiping), PV: released()}, wait(Gone)},
		{"wiping, directory not readable", Input{Record: record(Wiping), PV: released()}, do(Nothing)},
		{"wiping, PV deleted by hand", Input{Disk: goodDisk(), Record: record(Wiping), PV: released(deleting)}, do(Wipe)},
		{"wiping, disk gone, PV deleted by hand", Input{Looked: true, Record: record(Wiping), PV: released(deleting)}, keep(Quarantined)},
		{"wiping, PV bound again", Input{Disk: goodDisk(), Record: record(Wiping), PV: bound(ofClaimB)}, keep(Used)},
		{"wiping, claim taken off", Input{Disk: goodDisk(), Record: record(Wiping), PV: available(), Answer: "20"}, keep(Quarantined)},
		{"wiping, policy now Retain", Input{Disk: goodDisk(), Record: record(Wiping), PV: released(retain)}, keep(Used)},
		{"wiping, PV is another one", Input{Disk: goodDisk(), Record: record(Wiping), PV: released(otherUID), Answer: "20"}, keep(Used)},
		{"wiping, class now shared", Input{Disk: goodDisk(keeps), Record: record(Wiping), PV: released()}, keep(Quarantined)},
		{"wiping, tenant's partitions still seen", Input{Disk: goodDisk(device, refused), Record: record(Wiping), PV: released()}, do(Wipe)},

		{"wiped", Input{Disk: goodDisk(), Record: record(Wiped), PV: released()}, do(Withdraw)},
		{"wiped, deletion seen", Input{Disk: goodDisk(), Record: record(Wiped), PV: released(deleting)}, do(LetGo)},
		{"wiped, another's finalizer", Input{Disk: goodDisk(), Record: record(Wiped), PV: released(deleting, unheld)}, do(Nothing)},
		{"wiped, PV not in the cache", Input{Disk: goodDisk(), Record: record(Wiped)}, do(Confirm)},
		{"wiped, PV gone", Input{Disk: goodDisk(), Record: record(Wiped), Absent: true}, keep(Published)},
		{"wiped, PV gone, disk refused", Input{Disk: goodDisk(refused), Record: record(Wiped), Absent: true}, wait(Refused)},
		{"wiped, PV gone, disk gone", Input{Looked: true, Record: record(Wiped), Absent: true}, keep(Clean)},
		{"wiped, bound again", Input{Disk: goodDisk(), Record: record(Wiped), PV: bound()}, keep(Used)},
		{"wiped, database restored to an unclaimed PV", Input{Disk: goodDisk(), Record: record(Wiped), PV: available(otherUID), Answer: "20"}, do(Withdraw)},
		{"wiped, database restored to a released PV", Input{Disk: goodDisk(), Record: record(Wiped), PV: released(otherUID), Answer: "20"}, keep(Used)},

		{"quarantined", Input{Disk: goodDisk(), Record: record(Quarantined), Absent: true}, wait(Held)},
		{"quarantined, PV available", Input{Disk: goodDisk(), Record: record(Quarantined), PV: available()}, do(Withdraw)},
		{"quarantined, PV available, deletion seen", Input{Disk: goodDisk(), Record: record(Quarantined), PV: available(deleting)}, do(LetGo)},
		{"quarantined, PV bound", Input{Disk: goodDisk(), Record: record(Quarantined), PV: bound()}, wait(Held)},
		{"quarantined, PV bound, deleted by hand", Input{Disk: goodDisk(), Record: record(Quarantined), PV: bound(deleting)}, wait(Held)},
		{"quarantined, PV released", Input{Disk: goodDisk(), Record: record(Quarantined), PV: released()}, wait(Held)},
		{"quarantined, PV released, deleted by hand", Input{Disk: goodDisk(), Record: record(Quarantined), PV: released(deleting)}, do(LetGo)},
		{"a state nobody knows", Input{Disk: goodDisk(), Record: record("Zapped"), PV: available()}, keep(Quarantined)},
	} {
		t.Run(c.name, func(t *testing.T) { checkDecision(t, c.in, c.want) })
	}
}

// checkDecision compares a decision, and sees that one which an operator reads says something.
func checkDecision(t *testing.T, in Input, want Decision) {
	t.Helper()
	got := Decide(in)
	if got.Verb != want.Verb || got.Cause != want.Cause {
		t.Fatalf("got %s %s (%s), want %s %s", got.Verb, got.Cause, got.Message, want.Verb, want.Cause)
	}
	switch got.Verb {
	case Keep:
		if got.Record.State != want.Record.State {
			t.Fatalf("got state %s (%s), want %s", got.Record.State, got.Record.Reason, want.Record.State)
		}
		if got.Record.State == Quarantined && got.Record.Reason == "" {
			t.Error("quarantined without a reason")
		}
	case Wait:
		if got.Message == "" {
			t.Error("waits without a message")
		}
	}
}
