package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/volume"
)

// token names a mark that nobody has written before.
func token() string { return rand.Text() }

// mark writes a volume's mark on its disk. Before the PV is created it must be
// there for good; where the disk cannot take one, and later, the journal is
// enough.
func (a *Agent) mark(ctx context.Context, s *situation, r volume.Record) error {
	m := r.NextMark(a.node.Name)
	text, err := m.Text()
	if err != nil {
		return err
	}
	select { // each waits in the kernel, and takes a thread while it does
	case a.inspecting <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	offering := r.State == volume.Published && r.PV.UID == ""
	err = a.machine.Mark(s.slot.class, s.slot.entry, s.in.Disk.Identity, text, offering)
	<-a.inspecting
	k := s.slot.entry.key()
	switch {
	case err == nil:
		a.slots.remark(k, s.in.Disk.Identity, func(d *volume.Disk) { d.Mark = &m })
		a.log.Debug("marked", "volume", r.ID, "state", r.State, "pv", r.PV.Name)
		return nil
	case ctx.Err() != nil:
		return err
	case offering && (!errors.Is(err, host.ErrNoXattr) || s.in.Disk.Mark != nil): // it would say what is not true any more
		return fmt.Errorf("%w: %w", errDisk, err)
	}
	// The next look at the disk tries again.
	a.slots.remark(k, s.in.Disk.Identity, func(d *volume.Disk) { d.Markable = false })
	if _, said := a.unmarked.LoadOrStore(r.ID, true); said {
		return nil
	}
	a.log.Info("a volume goes without its mark; should the journal be lost, only its PV tells that it was handed out",
		"volume", r.ID, "disk", s.in.Disk.Identity, "pv", r.PV.Name, "err", err)
	return nil
}

// remark takes in what has changed of the mark of the disk at a place.
func (s *slots) remark(k key, identity disk.ID, change func(*volume.Disk)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl := s.byKey[k]
	if sl == nil {
		return
	}
	if sl.looking { // it may have looked before the change
		sl.again = true
	}
	if sl.disk != nil && sl.disk.Identity == identity {
		d := *sl.disk
		change(&d)
		sl.disk = &d
	}
}
