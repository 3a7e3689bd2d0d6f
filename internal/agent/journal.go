package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

// errJournal marks errors of the journal: its directory is full, read-only or
// not there. They are told once, not for each volume.
var errJournal = errors.New("the journal cannot be written")

const journalTrouble = "journal"

// put writes a record. One that cannot be written is owed: nothing else is done
// with its volume before it is, so that no volume is published, wiped or given
// away whose record cannot say so, and what was seen in the meantime is not
// forgotten as long as the agent runs.
func (a *Agent) put(r volume.Record) error {
	if err := a.journal.Put(r); err != nil {
		a.owed.Store(r.ID, r)
		a.reports.set(journalTrouble, api.ReasonJournalFailed, fmt.Sprintf(
			"%v: %v; no volume is published or wiped whose record cannot be; make room on that filesystem, or mount it read-write", errJournal, err))
		return fmt.Errorf("%w: %w", errJournal, err)
	}
	a.owed.Delete(r.ID)
	a.reports.clear(journalTrouble)
	return nil
}

// disown gives up a record that could not be written and that nothing but its
// writer's asking called for.
func (a *Agent) disown(id volume.ID) {
	a.owed.Delete(id)
	others := false
	a.owed.Range(func(any, any) bool { others = true; return false })
	if !others { // nothing tries again, which would end the report
		a.reports.clear(journalTrouble)
	}
}

// payOwed writes the record of a volume that could not be written before.
func (a *Agent) payOwed(ctx context.Context, id volume.ID) error {
	r, ok := a.owed.Load(id)
	if !ok || ctx.Err() != nil {
		return nil
	}
	return a.keep(r.(volume.Record))
}

// journalPatience is how long the agent waits before it tries again to write a
// record. A directory that is full does not tell when there is room.
const journalPatience = 5 * time.Second

// reportDamaged tells of the journal's files that were found damaged.
func (a *Agent) reportDamaged(all []volume.Damage) {
	for _, d := range all {
		a.reports.set(damageSubject(d.ID), api.ReasonJournalDamaged, fmt.Sprintf(
			"%s; its volume is held back, unless what it was is certain from the disk and its PersistentVolume", d))
	}
}

// rebuilt tells that a record which had been damaged is whole again.
func (a *Agent) rebuilt(before, now volume.Record) {
	if before.Lost != "" && now.Lost == "" && now.State != volume.Quarantined {
		a.log.Info("rebuilt a damaged journal record", "volume", now.ID, "disk", now.Identity, "state", now.State, "pv", now.PV.Name)
		a.reports.clear(damageSubject(now.ID))
	}
}

func damageSubject(id volume.ID) string { return "record/" + string(id) }
