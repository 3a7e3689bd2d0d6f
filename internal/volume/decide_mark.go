package volume

import "fmt"

// What a volume's own mark has to do with the decision. The journal rules; the
// mark tells of what the journal does not know, because it was lost, or is an
// older copy, or is another node's.

// decideMark holds a volume back whose mark tells of a tenant that nothing else
// tells of, and brings the mark up to date. It reports false when there is
// nothing to do of that kind.
func decideMark(in Input) (Decision, bool) {
	if in.Disk == nil || in.Disk.Device || in.Disk.Copy != "" {
		return Decision{}, false
	}
	if strange(in) {
		return keep(doubted(in)), true
	}
	if m := in.Disk.Mark; m != nil && !expected(in) {
		switch {
		case in.Record != nil && in.Record.State == Quarantined:
			// So that a person's word on the volume is one on what it bears now.
			// One that was given before the disk bore this is taken back.
			if in.Record.Asked != "" {
				return keep(doubted(in)), true
			}
			return keep(in.Record.with(Quarantined, func(r *Record) { r.learn(*m) })), true
		case agrees(in):
		case in.Empty == nil:
			return Decision{Verb: Examine}, true
		case !*in.Empty:
			return keep(doubted(in)), true
		}
	}
	return decideMarking(in)
}

// strange reports whether a volume whose record was damaged bears the mark of
// another claim than its PV has. What that claim has says nothing of the data.
func strange(in Input) bool {
	r, pv := in.Record, in.PV
	return r != nil && r.Lost != "" && in.Disk.Mark != nil && pv != nil && pv.Claim != nil && !agrees(in)
}

// expected reports whether the journal's record accounts for the mark.
func expected(in Input) bool {
	r, m := in.Record, in.Disk.Mark
	return r != nil && (m.ID == r.Mark || m.ID == r.MarkBefore)
}

// agrees reports whether the PV accounts for the mark: it is the one that was
// offered, or the claim that has it is the one whose data is on the disk.
func agrees(in Input) bool {
	m, pv := in.Disk.Mark, in.PV
	switch {
	case m.Unread != "", pv == nil:
		return false
	case m.Claim != nil:
		return pv.Claim != nil && m.Claim.covers(*pv.Claim)
	}
	return m.Node == in.Node && m.PV == pv.Name
}

// covers reports whether a claim of a mark is this one. A volume that goes back to
// a claim was marked with the claim's name alone.
func (c Claim) covers(o Claim) bool {
	return c.Namespace == o.Namespace && c.Name == o.Name && (c.UID == o.UID || c.UID == "")
}

// doubted is the record of a volume that is held back for its mark's sake.
func doubted(in Input) *Record {
	m := *in.Disk.Mark
	r, reason := recordOf(in), "the journal does not know this disk, and "+m.says()
	if in.Record != nil {
		r = *in.Record
		reason = fmt.Sprintf("%s, which the journal, where it is %s, does not know of", m.says(), r.State)
	}
	return r.with(Quarantined, func(r *Record) {
		r.Reason, r.Lost = reason, ""
		r.learn(m)
	})
}

// learn takes into the record what a mark says.
func (r *Record) learn(m Mark) {
	r.Mark, r.MarkBefore = m.ID, ""
	if m.Claim != nil {
		r.Claim = m.Claim
	}
}

// decideMarking writes the mark of a volume that is about to be handed out, or
// has been, if it bears another or none.
func decideMarking(in Input) (Decision, bool) {
	d, r := in.Disk, in.Record
	if r == nil || !d.Markable || d.Refused != "" || in.Rival != "" || onOtherMedium(in) {
		return Decision{}, false
	}
	var due bool
	switch r.State {
	case Published, Used, Returning: // but the journal gets to know of a claim first
		due = in.PV == nil || in.PV.Claim == nil || r.of(*in.PV.Claim)
	case Quarantined: // what it bears stays as it was found
		due = r.Asked == "" && r.Lost == "" && (d.Mark == nil || d.Mark.ID == r.MarkBefore)
	}
	if !due {
		return Decision{}, false
	}
	switch {
	case d.Mark == nil && r.Mark != "", d.Mark != nil && d.Mark.ID == r.MarkBefore && r.Mark != r.MarkBefore:
		return Decision{Verb: SetMark, Record: r}, true
	case d.Mark != nil && d.Mark.is(r.NextMark(in.Node)):
		return Decision{}, false
	}
	return keep(r.with(r.State, func(r *Record) { r.renew(in) })), true
}

// of reports whether the record's claim is this one.
func (r Record) of(c Claim) bool { return r.Claim != nil && *r.Claim == c }

// NextMark is the mark that a volume with this record is to bear.
func (r Record) NextMark(node string) Mark {
	m := Mark{ID: r.Mark, Node: node, PV: r.PV.Name}
	if r.State != Published {
		m.Claim = r.Claim
	}
	return m
}

func (m Mark) is(o Mark) bool {
	same := m.Claim == o.Claim || m.Claim != nil && o.Claim != nil && *m.Claim == *o.Claim
	return same && m.ID == o.ID && m.Node == o.Node && m.PV == o.PV && m.Unread == ""
}

// markID is the ID of the mark that the disk bears, or else of the one that it
// is to get.
func (d *Disk) markID(token string) string {
	switch {
	case d.Mark != nil:
		return d.Mark.ID
	case d.Markable:
		return token
	}
	return ""
}

// offer begins a new offer of the volume.
func (r *Record) offer(in Input) {
	r.Bare = in.Disk.Markable && *in.Empty
	r.renew(in)
}

// decideBare holds a volume back that was empty when its PV was about to be
// created, and is not any more, without a PV to be seen: there may have been one
// that a claim had, and that the agent died too early to note.
func decideBare(in Input) (Decision, bool) {
	switch {
	case !in.Record.Bare, in.Disk.Keep, in.Disk.Device:
		return Decision{}, false
	case in.Empty == nil:
		return Decision{Verb: Examine}, true
	case *in.Empty:
		return Decision{}, false
	case !in.Absent:
		return Decision{Verb: Confirm}, true
	}
	return quarantine(in, fmt.Sprintf("its PV %s was about to be created, is not there, and files have come since: a claim may have had it", in.Record.PV.Name)), true
}

// renew gives the volume's next mark an ID of its own. An ID never stands for
// two different marks: that is how an older copy of the journal is noticed.
func (r *Record) renew(in Input) {
	if in.Disk == nil || !in.Disk.Markable {
		return
	}
	r.Mark, r.MarkBefore = in.Token, ""
	if in.Disk.Mark != nil {
		r.MarkBefore = in.Disk.Mark.ID
	}
}
