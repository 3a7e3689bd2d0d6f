package volume

import (
	"fmt"
	"strings"
	"testing"
)

// markable is a disk that can bear a mark, and bears this one.
func markable(m *Mark) func(*Disk) {
	return func(d *Disk) { d.Markable, d.Mark = true, m }
}

func markOf(id string, claim *Claim) *Mark {
	return &Mark{ID: id, Node: "node-1", PV: "pv1", Claim: claim}
}

func bears(id string) func(*Record) { return func(r *Record) { r.Mark = id } }

// follow does all that is decided without waiting for anybody, on a disk that
// is not empty, and returns where that ends: the journal's state, the last verb,
// and "marked" if the disk was.
func follow(t *testing.T, in Input) string {
	t.Helper()
	in.Node, in.Looked = "node-1", true
	note := ""
	for n := range 20 {
		in.Token = fmt.Sprintf("new%d", n)
		switch d := Decide(in); d.Verb {
		case Keep:
			in.Record = d.Record
		case Examine:
			in.Empty = &no
		case Confirm:
			if in.Absent = in.PV == nil; !in.Absent {
				in.Answer = in.PV.ResourceVersion
			}
		case SetMark:
			d, m := *in.Disk, d.Record.NextMark(in.Node)
			d.Mark, in.Disk, note = &m, &d, " marked"
		default:
			return fmt.Sprintf("%s %s%s", valueOf(in.Record).State, d.Verb, note)
		}
	}
	t.Fatalf("it does not end, with %s", show(in))
	return ""
}

// TestUsedIsUsed: what the journal, the PV and the mark say together, whichever
// of them is lost or older than the others. The disk is never empty.
func TestUsedIsUsed(t *testing.T) {
	// The disk of each column was handed out as pv1 under the mark m1, then m2; the last
	// two came from elsewhere.
	marks := []*Mark{nil, markOf("m1", nil), markOf("m2", &claimA), {ID: "m7", Node: "node-2", PV: "pv7", Claim: &claimB}, ReadMark([]byte("berth-mark 1 00\n{}"))}
	const columns = "none, offered, A's, node-2's, damaged"
	type row struct {
		journal string
		record  *Record
		pv      string
		on      *PV
		want    [5]string
	}
	hold, fresh, publish := "Quarantined Wait", "Published Publish marked", "Published Nothing marked"
	used, wipe, quiet := "Used Nothing marked", "Wiping Wipe marked", "Used Nothing"
	take := "Quarantined Withdraw"
	older := record(Published, bears("m1"))                                       // from before the claim
	before := record(Published, bears("m0"), func(r *Record) { r.PV.UID = "u0" }) // from before the offer
	now := record(Used, bears("m2"), func(r *Record) { r.MarkBefore = "m1" })
	for _, r := range []row{
		{"lost", nil, "none", nil, [5]string{fresh, hold, hold, hold, hold}},
		{"lost", nil, "available", available(), [5]string{publish, "Published Nothing", take, take, take}},
		{"lost", nil, "A's", bound(), [5]string{used, used, quiet, hold, hold}},
		{"lost", nil, "released by A", released(), [5]string{wipe, wipe, "Wiping Wipe", hold, hold}},
		{"lost", nil, "replaced, B's", bound(otherUID, ofClaimB), [5]string{used, used, hold, used, hold}},
		{"lost", nil, "replaced, released by B", released(otherUID, ofClaimB), [5]string{wipe, wipe, hold, wipe, hold}},

		{"older", older, "none", nil, [5]string{hold + " marked", hold, hold, hold, hold}},
		{"older", older, "available", available(), [5]string{publish, "Published Nothing", take, take, take}},
		{"older", older, "A's", bound(), [5]string{used, used, used, hold, hold}},
		{"older", older, "released by A", released(), [5]string{wipe, wipe, wipe, hold, hold}},
		{"older", older, "replaced, available", available(otherUID), [5]string{take + " marked", take, take, take, take}},
		{"older", older, "replaced, released by B", released(otherUID, ofClaimB), [5]string{hold + " marked", hold, hold, hold, hold}},

		{"much older", before, "none", nil, [5]string{hold + " marked", hold, hold, hold, hold}},
		{"much older", before, "available", available(), [5]string{take + " marked", take + " marked", take, take, take}},
		{"much older", before, "A's", bound(), [5]string{hold + " marked", hold, hold, hold, hold}},
		{"clean", record(Clean), "none", nil, [5]string{fresh, hold, hold, hold, hold}},
		{"clean", record(Clean), "available", available(), [5]string{publish, publish, take, take, take}},
		{"wiping", record(Wiping, bears("m0")), "none", nil, [5]string{"Wiping Wipe", hold, hold, hold, hold}},

		{"as it is", now, "none", nil, [5]string{hold + " marked", hold + " marked", hold, hold, hold}},
		{"as it is", now, "available, from before", available(stale), [5]string{take + " marked", take + " marked", take, take, take}},
		{"as it is", now, "A's", bound(), [5]string{used, used, quiet, hold, hold}},
		{"as it is", now, "released by A", released(), [5]string{wipe, wipe, "Wiping Wipe", hold, hold}},
		{"as it is", now, "replaced, released by B", released(otherUID, ofClaimB), [5]string{hold + " marked", hold + " marked", hold, hold, hold}},
	} {
		for i, m := range marks {
			got := follow(t, Input{Disk: goodDisk(markable(m)), Record: r.record, PV: r.on})
			if got != r.want[i] {
				t.Errorf("journal %s, PV %s, mark %s: the end is %q, want %q", r.journal, r.pv, strings.Split(columns, ", ")[i], got, r.want[i])
			}
		}
	}
}

// TestOfferOfAnother: a PV speaks only for the mark that its own offer left.
func TestOfferOfAnother(t *testing.T) {
	for _, c := range []struct {
		mark Mark
		want string
	}{
		{Mark{ID: "x", Node: "node-1", PV: "pv1"}, "Published Nothing"},
		{Mark{ID: "x", Node: "node-2", PV: "pv1"}, "Quarantined Withdraw"},
		{Mark{ID: "x", Node: "node-1", PV: "pv7"}, "Quarantined Withdraw"},
	} {
		if got := follow(t, Input{Disk: goodDisk(markable(&c.mark)), PV: available()}); got != c.want {
			t.Errorf("a lost journal, an available PV and mark %+v: the end is %q, want %q", c.mark, got, c.want)
		}
	}
}

// TestDamagedRecordAndMark: a damaged record is not rebuilt for a claim that is
// not the one whose data is on the disk, and is for that one.
func TestDamagedRecordAndMark(t *testing.T) {
	for _, c := range []struct {
		claim *Claim
		want  string
	}{{&claimA, "Used Nothing"}, {&claimB, "Quarantined Wait"}} {
		in := Input{Disk: goodDisk(markable(markOf("m2", &claimA))), Record: record(Quarantined, lost), PV: bound(func(p *PV) { p.Claim = c.claim })}
		if got := follow(t, in); got != c.want {
			t.Errorf("with the PV of claim %s the end is %q, want %q", c.claim, got, c.want)
		}
	}
}
