package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// steps bounds how often one volume is decided on in a row. A volume's longest
// way, from released to published anew, takes ten.
const steps = 20

// Retries wait twice as long each time, up to these. The API server's is short,
// so that the agent has caught up within seconds of its return.
const (
	firstRetry = 50 * time.Millisecond
	apiRetry   = 2 * time.Second
	diskRetry  = 5 * time.Minute
)

// step is what one action leads to.
type step int

const (
	goOn step = iota // look at the volume again now
	halt             // until something changes
)

// errDisk marks errors of the disk, which are retried with growing patience.
var errDisk = errors.New("disk error")

// reconcile brings one volume to where it should be, or as far as it gets.
func (a *Agent) reconcile(ctx context.Context, id volume.ID) (retry time.Duration) {
	if !a.store.Synced() || !a.discovered.Load() {
		return 0 // kickAll follows when both are there
	}
	if name, ok := strings.CutPrefix(string(id), string(unidentified(""))); ok {
		return a.identify(ctx, name)
	}
	done, err := a.carved.hold(ctx, id) // a CSI client may be at work on it
	if err != nil {
		return 0 // ctx has ended
	}
	defer done()
	if _, ok := a.carvedName(id); ok && !a.carved.claims.Synced() {
		return 0 // the same; never, where the agent looks after no pools
	}
	a.obeyNext(ctx, id)
	s := situation{}
	if err := a.payOwed(ctx, id); err != nil {
		return a.failed(id, s, volume.Decision{Verb: volume.Keep}, err)
	}
	for range steps {
		if ctx.Err() != nil {
			return 0
		}
		if !a.gather(id, &s) {
			a.reports.clear(volumeSubject(id))
			a.states.forget(id)
			return 0
		}
		if s.in.Disk == nil && s.in.Looked {
			a.tries.forget(id)
		}
		d := volume.Decide(s.in)
		if d.Verb == volume.Wipe && a.wasGone(id, &s) {
			a.tellState(ctx, id, &s, 0) // now, as the wipe may take hours
		}
		next, err := a.act(ctx, id, &s, d)
		if ctx.Err() != nil {
			return 0
		}
		if err != nil {
			retry = a.failed(id, s, d, err)
			return a.tellState(ctx, id, &s, retry)
		}
		if next == halt {
			a.failures.Delete(id)
			a.metrics.lastReconcile.SetToCurrentTime()
			return a.tellState(ctx, id, &s, 0)
		}
	}
	a.log.Error("a volume does not settle", "volume", id)
	return apiRetry
}

// situation is one volume's input to a decision, with what the doing needs.
type situation struct {
	in   volume.Input
	slot slot
	// asked says that the API server itself was asked for the PV, not only its watch.
	asked bool
}

// gather fills in what is known of a volume. It reports false for one that is
// not to be managed: its class is not in the configuration.
func (a *Agent) gather(id volume.ID, s *situation) bool {
	if name, ok := a.carvedName(id); ok {
		return a.gatherCarved(id, name, s)
	}
	in := &s.in
	in.Record, in.Node, in.Token = nil, a.node.Name, token()
	if r, ok := a.journal.Get(id); ok {
		if unknown(r.Identity) {
			return false // its PV is worked on under the PV's name
		}
		in.Record = &r
	}
	absent := a.lookUp(id, in)
	var last key
	switch {
	case in.Record != nil && in.Record.Entry != "":
		last = key{in.Record.Class, in.Record.Entry}
	case in.PV != nil:
		last = key{in.PV.Class, path.Base(in.PV.Path)}
	}
	found, known := a.slots.find(id, last)
	if found.disk != nil && found.entry.key() != last && in.Record != nil && in.Record.Stays() {
		// A tenant's volume is not followed to another place: it may be a copy of
		// the disk that was there, which nobody has released.
		found, known = slot{}, true
	}
	if r := in.Record; r != nil && r.Identity == "" { // damaged; its name is a hash of what is looked for
		switch {
		case found.disk != nil:
			r.Identity, r.Class, r.Entry = found.disk.Identity, found.disk.Class, found.disk.Entry
		case in.PV != nil:
			r.Identity, r.Class, r.Entry = in.PV.Identity, last.class, last.name
		}
	}
	s.slot, in.Disk, in.Looked, in.Other = found, found.disk, known, ""
	if in.Disk == nil {
		in.Other = a.slots.otherAt(last, id)
	}
	if in.Disk == nil && !a.managed(last.class) {
		return false
	}
	in.Rival = ""
	if in.Disk != nil {
		if in.PV == nil && a.identifyAt(*in.Disk) {
			absent = a.lookUp(id, in)
		}
		if in.Record == nil && in.PV == nil {
			in.Record = a.inherited(in.Disk)
		}
		in.Rival = a.store.Rival(id, in.Disk.Path)
		if name := a.strangers.at(in.Disk.Path); name != "" && in.Disk.Refused == "" {
			d := *in.Disk
			d.Refused = fmt.Sprintf("is given to pods by PV %s, which no provisioner of this node made; delete that PV if nobody needs it", name)
			in.Disk = &d
		}
	}
	in.Absent = in.PV == nil && (in.Absent || absent)
	return true
}

// lookUp fills in a volume's PV from the store.
func (a *Agent) lookUp(id volume.ID, in *volume.Input) (absent bool) {
	var pvs []volume.PV
	pvs, absent, in.Left = a.store.Get(id)
	in.PV = a.pvOf(pvs)
	return absent
}

func (a *Agent) managed(class string) bool {
	_, ok := a.class(class)
	return ok
}

// failed reports an action's error and says when to try again.
func (a *Agent) failed(id volume.ID, s situation, d volume.Decision, err error) time.Duration {
	var notYet later
	if errors.As(err, &notYet) {
		return notYet.wait
	}
	if errors.Is(err, errJournal) { // reported once for all
		return journalPatience/2 + rand.N(journalPatience/2)
	}
	n := 0
	if v, ok := a.failures.Load(id); ok {
		n = v.(int) + 1
	}
	a.failures.Store(id, n)
	limit := apiRetry
	reason := api.ReasonPublishFailed
	if errors.Is(err, errDisk) {
		limit = diskRetry
	}
	if d.Verb == volume.Wipe {
		reason = api.ReasonWipeFailed
	}
	// A conflict solves itself: the watch brings what has changed. So does a mount
	// that the kubelet is about to take away.
	patience := 0
	if apierrors.IsConflict(err) || errors.Is(err, pool.ErrBusy) {
		patience = 10
	}
	if errors.Is(err, errDisk) || n > patience {
		a.reportVolume(id, s, reason, fmt.Sprintf("%s of %s failed, trying again: %v", d.Verb, describe(s), err))
	}
	wait := min(firstRetry<<min(n, 20), limit)
	return wait/2 + rand.N(wait/2+1)
}

// pvChanged is called when the PV of a volume has come, gone or changed.
func (a *Agent) pvChanged(id volume.ID) {
	pvs, _, _ := a.store.Get(id)
	a.wipings.seen(id, pvs)
	a.volumes.kick(id)
	r, ok := a.journal.Get(id)
	if !ok {
		return
	}
	// A volume that has come to the same place may wait for this one to leave.
	if other, ok := a.slots.at(key{r.Class, r.Entry}); ok && other != id {
		a.volumes.kick(other)
	}
}

// kickAll looks at every volume there is.
func (a *Agent) kickAll() {
	for _, r := range a.journal.All() {
		a.volumes.kick(r.ID)
	}
	for _, id := range a.store.IDs() {
		a.volumes.kick(id)
	}
	for _, id := range a.carved.all() {
		a.volumes.kick(id)
	}
	for _, pv := range a.store.Unidentified(nil) {
		a.volumes.kick(unidentified(pv.Name))
	}
	a.slots.mu.Lock()
	ids := make([]volume.ID, 0, len(a.slots.byID))
	for id := range a.slots.byID {
		ids = append(ids, id)
	}
	a.slots.mu.Unlock()
	for _, id := range ids {
		a.volumes.kick(id)
	}
}

// pvName is the name that a volume's PV gets first.
func (a *Agent) pvName(r volume.Record) string {
	if r.Carved != nil {
		return r.Entry
	}
	return publish.Name(r.Entry, a.node.Name, r.Class)
}

func volumeSubject(id volume.ID) string { return "volume/" + string(id) }

// describe names a volume for a message.
func describe(s situation) string {
	switch {
	case s.in.PV != nil:
		return fmt.Sprintf("PV %s (%s)", s.in.PV.Name, s.in.PV.Path)
	case s.in.Disk != nil:
		return fmt.Sprintf("%s (%s)", s.in.Disk.Path, s.in.Disk.Identity)
	case s.in.Record != nil:
		return fmt.Sprintf("%s/%s (%s)", s.in.Record.Class, s.in.Record.Entry, s.in.Record.Identity)
	}
	return "a volume"
}
