package volume

// rebuild says what to do with a volume whose record was damaged, where that is
// certain from the disk and the API. It returns false where it is not: the
// volume stays quarantined.
//
// Certain is what would be right whatever the record said:
//
//   - A directory without contents has nothing to lose and nothing to leak.
//   - Data that is never wiped, of a shared or read-only class, is for every claim.
//   - A volume that a claim has, as the API server itself says now, is that
//     claim's, if the record still shows that it was used or published. One that
//     was quarantined may hold an earlier claim's data, which the release of this
//     one must not wipe; so where the state is not legible it is not rebuilt.
//
// Never certain is an unclaimed volume with contents, and a device without a
// claim, whose contents cannot be seen: the record may have said that a wipe was
// under way.
func rebuild(in Input) (Decision, bool) {
	pv := in.PV
	if in.Record.Lost == "" || in.Record.Identity == "" {
		return Decision{}, false
	}
	as := func(s State, claim *Claim) (Decision, bool) {
		r := recordOf(in)
		r.State, r.Claim = s, claim
		return keep(&r), true
	}
	switch {
	case pv != nil && pv.Claim != nil && !pv.Released && !pv.Deleting && in.Record.Lost != Illegible:
		if unsure(in) {
			return Decision{Verb: Confirm}, true
		}
		return as(Used, pv.Claim)
	case pv != nil || in.Disk == nil || in.Disk.Copy != "" || in.carved():
		return Decision{}, false
	case !in.Absent && (in.Disk.Keep || !in.Disk.Device):
		return Decision{Verb: Confirm}, true
	case in.Disk.Keep:
		return as(Clean, nil)
	case in.Disk.Device || in.Empty != nil && !*in.Empty:
		return Decision{}, false
	case in.Empty == nil:
		return Decision{Verb: Examine}, true
	}
	return as(Clean, nil)
}
