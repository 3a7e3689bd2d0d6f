package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

// inspectPatience is how long a disk may take to be looked at before it is
// reported, and the agent is ready without it.
const inspectPatience = 30 * time.Second

// notReady says what the agent still waits for, "" when it is at work: it has
// its configuration and has published each volume that it has found at its
// start and that is to be published. Once ready it stays so; trouble that comes
// later is in the reports.
func (a *Agent) notReady() string {
	switch {
	case a.config() == nil:
		return "no good configuration yet: see the log and the events of the node"
	case !a.store.Synced():
		return "the PersistentVolumes of this node have not been read yet"
	case !a.discovered.Load():
		return "the discovery directories have not been read yet"
	case a.ready.Load():
		return ""
	}
	why := a.missing()
	if why == "" {
		a.ready.Store(true)
	}
	return why
}

// missing counts the volumes that are still to be published and names one, ""
// when there is none.
func (a *Agent) missing() string {
	count, one := 0, ""
	miss := func(sl slot, why string) {
		count++
		if what := refusal(sl, why); one == "" || what < one {
			one = what
		}
	}
	volumes, unseen := a.slots.found()
	for _, sl := range unseen {
		if time.Since(sl.since) < inspectPatience {
			miss(sl, "has not been looked at yet")
		}
	}
	for _, v := range volumes {
		if why := a.unpublished(v); why != "" {
			miss(v.slot, why)
		}
	}
	if count == 0 {
		return ""
	}
	return fmt.Sprintf("not published yet: %d; one of them: %s", count, one)
}

// unpublished says why a volume's PV is not there although it is to be, "" when
// it is there or is not to be.
func (a *Agent) unpublished(v found) string {
	if v.copies {
		return "" // reported; nothing is done with them
	}
	r, known := a.journal.Get(v.id)
	if !known && v.slot.disk.Refused != "" {
		return ""
	}
	if known {
		switch r.State {
		case volume.Used, volume.Wiping, volume.Wiped, volume.Quarantined:
			return ""
		}
	}
	pvs, _, _ := a.store.Get(v.id)
	switch pv := a.pvOf(pvs); {
	case pv == nil:
	case !pv.Deleting: // published; being withdrawn is a change of a later time
		if known {
			return ""
		}
	case !pv.Held:
		return "" // others hold it, and may do so for ever
	}
	trouble, reported := a.reports.about(volumeSubject(v.id))
	switch {
	case !reported:
		return "is about to be published"
	case trouble.reason != api.ReasonPublishFailed:
		return ""
	}
	return "is not published: " + trouble.message
}

// reportHung reports, after a while, a disk that has not answered by then. The
// caller stops the timer when it has, and holds slots.mu.
func (a *Agent) reportHung(ctx context.Context, k key) *time.Timer {
	sl := a.slots.byKey[k]
	return time.AfterFunc(inspectPatience, func() {
		a.slots.mu.Lock() // while it is held, the looking cannot end and clear the report too early
		if a.slots.byKey[k] == sl && sl.looking && ctx.Err() == nil {
			a.reports.set(entrySubject(k), api.ReasonDiskHung, refusal(*sl,
				fmt.Sprintf("does not answer: looking at it has taken over %s; the others are looked after", inspectPatience)))
		}
		a.slots.mu.Unlock()
		a.progress()
	})
}

// progress says that the agent may have become ready, or the node's taint be due.
// It never waits.
func (a *Agent) progress() {
	a.taintIsDue()
	select {
	case a.progressed <- struct{}{}:
	default:
	}
}
