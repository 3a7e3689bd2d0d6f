package volume

import "strconv"

// What the random walks do to the journal, and what a person does to a volume
// that is held back.

// lost loses the journal, or puts an older copy in its place, and perhaps the
// API server's database with it. As the mark is written when the agent sees a
// claim, it has seen what there is; and it sees the result.
func (w *world) lost() string {
	if !w.disk.Markable {
		return "" // then nothing is left that tells
	}
	if w.rand.IntN(2) == 0 {
		w.copied = w.journal
		return "copied"
	}
	w.settle()
	if w.data != "" && !w.handed && (w.mark == nil || w.mark.Claim == nil || w.mark.Claim.UID != w.data) {
		return ""
	}
	if w.journal = nil; w.rand.IntN(2) == 0 {
		w.journal = w.copied
	}
	switch w.rand.IntN(3) {
	case 0:
		w.restore()
	case 1:
		w.relist()
	}
	return "lost"
}

// elsewhere is what happens to a disk that is away and that nobody here uses:
// another node's agent hands it out.
func (w *world) elsewhere() string {
	if w.there || w.pv != nil || w.data != "" || !w.disk.Markable {
		return ""
	}
	w.uid++
	w.data = "c" + strconv.Itoa(w.uid)
	w.mark = &Mark{ID: "n" + w.data, Node: "node-2", PV: "pv1", Claim: &Claim{"ns", "c", w.data}}
	return "used on another node"
}

// person ends a quarantine: with a clean disk that is as if new, or by the word
// that everybody may have what is on it.
func (w *world) person(tally map[string]int) {
	if w.rand.IntN(2) == 0 || !w.there || !w.readable {
		w.say("a person cleans the disk and removes its record")
		tally["quarantined"]++
		w.data, w.journal, w.handed = "", nil, false
		return
	}
	w.settle() // the agent has seen what it holds back
	if w.journal.State != Quarantined {
		return
	}
	w.say("a person releases the disk as it is")
	tally["released from quarantine"]++
	w.journal = w.journal.with(Clean, func(r *Record) { r.PV, r.Reason = PVRef{}, "" })
	w.handed = w.data != ""
	if w.settle(); w.journal.State == Quarantined {
		w.bad = "held back against a person's word"
	}
}
