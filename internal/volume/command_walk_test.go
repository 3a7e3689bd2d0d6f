package volume

import "strconv"

// command lets a person decide over the volume, as the agent takes it: it asks
// the API server itself, and writes the record that Obey gives.
func (w *world) command(tally map[string]int) {
	if w.journal == nil || w.journal.State != Quarantined || w.journal.Asked != "" {
		return
	}
	w.watch()
	in := Input{Looked: w.readable, Record: w.journal, PV: w.cache, Absent: w.pv == nil}
	if w.pv != nil {
		in.Answer = w.pv.ResourceVersion
	}
	if w.there && w.readable {
		in.Disk = w.disk
	}
	w.asked++
	c := Command{Word: Words[w.rand.IntN(len(Words))], Claim: nil, At: strconv.Itoa(w.asked)}
	if c.Word == Republish && w.journal.Claim == nil {
		c.Claim = &Claim{Namespace: "ns", Name: "c"}
	}
	r, err := Obey(in, c)
	w.say("a person commands %s: %v", c.Word, err)
	if err != nil {
		return
	}
	tally["command "+string(c.Word)]++
	w.journal = r
	switch c.Word {
	case Release: // and so says that the bytes may be seen
		w.handed = true
	case Erase:
		w.mayWipe[w.data] = true
	}
}
