package volume

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

var firstSeed = flag.Uint64("seed", 0, "seed of the first random walk; 0 picks one")

// world is a machine, an API server and an agent in miniature: one volume, and
// every bad thing that may happen to it between two steps of the agent.
type world struct {
	rand *rand.Rand
	log  []string
	bad  string // what must not happen, and did

	disk     *Disk // as it is when it is there
	there    bool
	readable bool
	data     string // UID of the claim whose bytes are on the disk
	mark     *Mark  // what the disk says of itself
	handed   bool   // a person took a claim off, and so hands its bytes on

	pv       *PV // as the API server has it
	backup   *PV
	rv       int
	uid      int
	mayWipe  map[string]bool // claims that were seen released with policy Delete
	written  bool            // the pod of the current claim has written
	policies bool            // Delete
	asked    int             // commands so far
	unheld   bool            // PVs are published without Berth's finalizer
	end      PV              // the last form of the PV that went last

	cache   *PV // as the agent has it
	gone    bool
	left    string // the UID of the PV whose end the agent watched while no claim had it
	journal *Record
	copied  *Record // a copy of the journal that somebody made
}

func (w *world) say(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

func (w *world) change() {
	w.rv++
	w.pv.ResourceVersion = strconv.Itoa(w.rv)
	if w.pv.Released && w.pv.Delete {
		w.mayWipe[w.pv.Claim.UID] = true
	}
	if w.pv.Deleting && !w.pv.Held && (w.pv.Free() || w.pv.Released) {
		w.remove()
	}
}

func (w *world) remove() { w.end, w.pv = *w.pv, nil }

// event lets one thing happen and names it; "" when it could not.
func (w *world) event() string {
	pv := w.pv
	switch w.rand.IntN(21) {
	case 0, 1, 2:
		if pv != nil && pv.Free() && !pv.Deleting { // a binder passes over one that is being deleted
			w.uid++
			back := pv.Claim != nil // made again under its old name, it has its data back
			w.handed = w.handed || back
			pv.Claim, w.written = &Claim{"ns", "c", "c" + strconv.Itoa(w.uid)}, false
			w.change()
			if back {
				return "take back"
			}
			return "bind"
		}
	case 3, 4, 5:
		if pv != nil && pv.had() && w.there {
			w.data, w.handed = pv.Claim.UID, w.handed && w.data == pv.Claim.UID
			w.written = true
			return "write"
		}
	case 6, 7:
		if pv != nil && pv.had() {
			pv.Released = true
			w.change()
			return "release"
		}
	case 8:
		if pv != nil && pv.had() && !w.written {
			pv.Claim = nil
			w.change()
			return "binder takes back"
		}
	case 9:
		if pv != nil && !pv.Deleting {
			pv.Deleting = true
			w.change()
			return "delete by hand"
		}
	case 10:
		if pv != nil && w.rand.IntN(3) == 0 {
			w.remove()
			return "force away"
		}
	case 11:
		w.there = !w.there
		return "disk comes or goes"
	case 12:
		w.readable = !w.readable
		return "directory readable or not"
	case 13:
		if w.rand.IntN(4) == 0 {
			d := *w.disk
			if w.disk = &d; w.rand.IntN(2) == 0 {
				d.CapacityBytes += gib
				return "grow"
			}
			d.Path += "x"
			return "move"
		}
	case 14:
		if pv != nil {
			pv.Delete = !pv.Delete
			w.change()
			return "policy"
		}
		w.policies = !w.policies
		return "policy of class"
	case 15:
		if w.rand.IntN(6) == 0 && pv != nil && !pv.Free() {
			pv.Claim, pv.Released, w.handed = nil, false, true
			w.change()
			return "claim taken off by hand"
		}
	case 16:
		w.relist()
		return "agent starts anew"
	case 17:
		return w.database()
	case 18, 19:
		return w.lost()
	case 20:
		return w.elsewhere()
	}
	return ""
}

// database backs the API server up, or puts it back. It puts back only what the
// agent has seen, and lets it see the result: nothing on the node can tell of a
// claim that came and went with the lost part, or keep a binder from being faster.
func (w *world) database() string {
	if w.rand.IntN(3) > 0 {
		w.backup = nil
		if w.pv != nil {
			pv := *w.pv
			w.backup = &pv
		}
		return "backup"
	}
	w.settle()
	if s := w.journal; w.data != "" && !(s != nil && (s.State == Used || s.State == Wiping || s.State == Quarantined || s.State == Returning)) {
		return ""
	}
	w.restore()
	return "restore"
}

func (w *world) restore() {
	w.pv = nil
	if w.backup != nil {
		pv := *w.backup
		w.pv, w.written = &pv, true
		// Somebody has said that a claim of that name may have the data.
		w.handed = w.handed || w.journal != nil && w.journal.State == Returning && pv.had()
	}
	w.relist()
	w.readable = true
	for range 4 { // each change of the PV brings the agent back
		w.settle()
	}
}

func (w *world) relist() { w.watch(); w.gone, w.left = false, "" }

func (w *world) watch() {
	if w.pv == nil && w.cache != nil {
		if w.left = ""; w.cache.UID == w.end.UID && w.end.Claim == nil {
			w.left = w.end.UID
		}
	}
	if w.gone = w.pv == nil && (w.gone || w.cache != nil); w.pv == nil {
		w.cache = nil
		return
	}
	pv := *w.pv
	w.cache = &pv
}

func (w *world) settle() {
	var m memory
	for range 30 {
		w.watch()
		if !w.step(&m) {
			return
		}
	}
	w.bad = "does not settle"
}

// memory is what one reconcile keeps from step to step.
type memory struct {
	absent bool
	empty  *bool
	answer string
}

// step is one decision and its doing. It reports whether to go on.
func (w *world) step(m *memory) bool {
	in := Input{Looked: w.readable, Record: w.journal, PV: w.cache, Answer: m.answer, Empty: m.empty, Left: w.left}
	in.Absent = in.PV == nil && (m.absent || w.gone)
	if w.there && w.readable {
		d := *w.disk
		d.Mark, in.Disk = w.mark, &d
	}
	w.uid++
	in.Node, in.Token = "node-1", "m"+strconv.Itoa(w.uid)
	d := Decide(in)
	w.say("  %s %+v %s", d.Verb, d.Record, d.Message)
	same := func() bool {
		return w.pv != nil && w.pv.UID == in.PV.UID && (!in.PV.Free() || w.pv.ResourceVersion == in.PV.ResourceVersion)
	}
	switch d.Verb {
	case Keep:
		if d.Record.State == Published {
			d.Record.PV.Name = "pv1"
		}
		w.journal = d.Record
		return true
	case Confirm:
		w.watch()
		if m.absent = w.pv == nil; !m.absent {
			m.answer = w.pv.ResourceVersion
		}
		return true
	case Examine:
		e := w.data == ""
		m.empty = &e
		return true
	case SetMark:
		m := d.Record.NextMark("node-1")
		w.mark = &m
		return true
	case Publish:
		if w.pv == nil {
			w.uid++
			w.pv = &PV{Name: "pv1", UID: "u" + strconv.Itoa(w.uid), Identity: testIdentity, Class: "fast", Path: w.disk.Path,
				CapacityBytes: w.disk.CapacityBytes, Delete: w.policies, Held: !w.unheld}
			if d.Record.State == Returning {
				w.pv.Claim = d.Record.Claim
			}
			w.change()
		}
		if w.rand.IntN(4) == 0 { // stopped before the answer was noted, and started again at once
			w.relist()
		} else {
			w.watch()
		}
		return true
	case Withdraw:
		if same() {
			w.pv.Deleting = true
			w.change()
		}
	case LetGo:
		if same() {
			w.pv.Held = false
			w.change()
		}
	case Wipe:
		return w.wipe(*d.Record)
	}
	return false
}

// wipe does what the agent does: it asks the API server once more, then erases.
func (w *world) wipe(r Record) bool {
	if w.pv != nil && (r.Asked != "" || w.pv.UID != r.PV.UID || !w.pv.Released || !w.pv.Delete) {
		w.watch()
		return false
	}
	if w.data != "" && !w.handed && !w.mayWipe[w.data] {
		w.bad = "wiped without a positive record"
	}
	if w.rand.IntN(4) == 0 {
		return false // stopped halfway
	}
	w.data, w.handed, w.mark = "", false, nil
	if w.rand.IntN(8) == 0 {
		return false // stopped before it was noted
	}
	w.journal = r.with(Wiped, func(r *Record) { r.Mark, r.MarkBefore = "", "" })
	return true
}

// A claim never gets a volume with an earlier claim's bytes, whatever happens
// between two steps of the agent.
func TestNoSecondTenantSeesTheFirstsBytes(t *testing.T) {
	first, walks := *firstSeed, 1500
	if first == 0 {
		first = rand.Uint64()
	}
	if testing.Short() {
		walks = 200
	}
	tally := map[string]int{}
	for seed := first; seed < first+uint64(walks); seed++ {
		w := &world{rand: rand.New(rand.NewPCG(seed, 0)), there: true, readable: true, policies: true, mayWipe: map[string]bool{}, unheld: seed%2 == 0}
		w.disk = goodDisk()
		w.disk.Markable = seed%5 != 0
		if seed%3 == 0 {
			w.disk = goodDisk(device)
		}
		for range 150 {
			w.walk(tally)
			if w.bad != "" {
				t.Fatalf("seed %d: %s\n%s", seed, w.bad, strings.Join(w.log[max(0, len(w.log)-60):], "\n"))
			}
		}
	}
	for _, need := range []string{"bind", "write", "release", "force away", "restore", "reused", "claim taken off by hand", "quarantined", "command release", "command republish", "command wipe", "take back", "released from quarantine", "lost", "copied", "used on another node"} {
		if tally[need] == 0 {
			t.Errorf("in no walk: %s", need)
		}
	}
	t.Logf("first seed %d: %v", first, tally)
}

// unnoted reports whether the journal does not know the UID of the PV that was
// just created. One of a disk without a mark that is claimed and forced away
// before it does is a gap that the walks leave out, and so is one of a disk with
// somebody's data on it.
func (w *world) unnoted() bool {
	return w.pv != nil && w.journal != nil && w.journal.State == Published && w.journal.PV.UID == "" && !w.journal.Bare
}

func (w *world) walk(tally map[string]int) {
	if w.rand.IntN(2) == 0 {
		w.settle()
	} else if w.rand.IntN(2) == 0 { // a few steps, on what may be old, and then it is stopped
		var m memory
		for n := 1 + w.rand.IntN(6); (n > 0 || w.unnoted()) && w.step(&m); n-- {
		}
	}
	if w.journal != nil && w.journal.State == Quarantined && w.pv == nil && w.rand.IntN(8) == 0 {
		w.person(tally)
	}
	if w.rand.IntN(3) == 0 {
		w.command(tally)
	}
	name := w.event()
	if name == "" {
		return
	}
	tally[name]++
	w.say("%s: there %v data %q pv %+v", name, w.there, w.data, w.pv)
	if name != "bind" || w.pv == nil {
		return
	}
	if w.data != "" && !w.handed {
		w.bad = "a second tenant got the first one's bytes"
	}
	if w.data == "" && len(w.mayWipe) > 0 {
		tally["reused"]++
	}
}
