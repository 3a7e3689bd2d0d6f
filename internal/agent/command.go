package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/control"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// commandPatience is how long a person's command waits for the volume's worker,
// which may be asking the API server or waiting for a disk.
const commandPatience = 30 * time.Second

// command is what a person wants, until the volume's worker takes it: nothing
// else may write the volume's record.
type command struct {
	volume.Command
	identity, path string // as the person was shown them
	done           chan error
}

type commands struct {
	mu   sync.Mutex // guards byID
	byID map[volume.ID]*command
}

// add reports false if another command waits already.
func (c *commands) add(id volume.ID, cmd *command) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID == nil {
		c.byID = map[volume.ID]*command{}
	}
	if c.byID[id] != nil {
		return false
	}
	c.byID[id] = cmd
	return true
}

// take returns the command that waits, nil for none, and forgets it.
func (c *commands) take(id volume.ID) *command {
	c.mu.Lock()
	defer c.mu.Unlock()
	cmd := c.byID[id]
	delete(c.byID, id)
	return cmd
}

// command hands a person's command to the volume's worker, and returns once it
// is in the journal, or why it is not.
func (a *Agent) command(ctx context.Context, id volume.ID, cmd *command) error {
	cmd.done = make(chan error, 1)
	if !a.commands.add(id, cmd) {
		return fmt.Errorf("%w: another command over it is being taken", control.ErrRefused)
	}
	a.volumes.kick(id)
	ctx, cancel := context.WithTimeout(ctx, commandPatience)
	defer cancel()
	select {
	case err := <-cmd.done:
		return err
	case <-ctx.Done():
		if a.commands.take(id) == nil { // the worker has it, and ends soon
			return <-cmd.done
		}
		return fmt.Errorf("%w: the agent has been busy with the volume for %s; nothing was done", control.ErrNotReady, commandPatience)
	}
}

// obeyNext obeys the command that waits for a volume's worker.
func (a *Agent) obeyNext(ctx context.Context, id volume.ID) {
	if cmd := a.commands.take(id); cmd != nil {
		cmd.done <- a.obey(ctx, id, cmd)
	}
}

func (a *Agent) obey(ctx context.Context, id volume.ID, cmd *command) error {
	if _, owed := a.owed.Load(id); owed { // what the journal says of it is old
		return fmt.Errorf("%w: %w; nothing was done", control.ErrNotReady, errJournal)
	}
	s, r, err := a.weigh(ctx, id, cmd.Command)
	if err != nil {
		return err
	}
	identity, path := a.shown(s)
	if identity != cmd.identity || path != cmd.path {
		return fmt.Errorf("%w: its disk is now %s at %s, not %s at %s", control.ErrRefused, identity, path, cmd.identity, cmd.path)
	}
	if err := a.keep(*r); err != nil {
		a.disown(id) // or it would be done once there is room, and the person is told that it is not
		return err
	}
	a.tries.forget(id)
	claim := ""
	if r.Claim != nil {
		claim = r.Claim.String()
	}
	a.log.Info(commandMessages[r.Asked], "volume", id, "disk", r.Identity, "path", path, "pv", r.PV.Name, "claim", claim, "reason", r.Reason)
	a.queueEvent([]corev1.ObjectReference{a.reports.node}, api.ReasonCommanded,
		fmt.Sprintf("%s of volume %s (class %s, %q, disk %s): a person asked for it; it was quarantined: %s", r.Asked, id, r.Class, r.Entry, r.Identity, r.Reason))
	return nil
}

var commandMessages = map[volume.Word]string{
	volume.Release:   "volume released by command",
	volume.Republish: "volume given back by command",
	volume.Erase:     "volume to be wiped by command",
	volume.GiveUp:    "volume to be forgotten by command",
}

// weigh looks at a volume as it is now, asks the API server itself for its PV,
// and returns the record that the command leads to. It changes nothing.
func (a *Agent) weigh(ctx context.Context, id volume.ID, cmd volume.Command) (*situation, *volume.Record, error) {
	s := &situation{}
	for range 3 { // a PV may come or change between the cache and the answer
		if !a.gatherHeld(id, s) {
			return nil, nil, fmt.Errorf("%w: its class is not in the configuration, or its disk is not there", control.ErrRefused)
		}
		if s.in.Absent && s.asked || s.in.PV != nil && s.in.PV.ResourceVersion == s.in.Answer {
			break
		}
		var notYet later
		if err := a.confirm(ctx, id, s); errors.As(err, &notYet) {
			return nil, nil, fmt.Errorf("%w: the end of PV %s has not come through its watch; try again", control.ErrNotReady, s.in.PV.Name)
		} else if err != nil {
			return nil, nil, err
		}
		s.asked = true
	}
	r, err := volume.Obey(s.in, cmd)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", control.ErrRefused, err)
	}
	return s, r, nil
}

// gatherHeld gathers what is known of a quarantined volume. What a damaged
// record does not say of it is what its disk says.
func (a *Agent) gatherHeld(id volume.ID, s *situation) bool {
	ok := a.gather(id, s)
	if r, d := s.in.Record, s.in.Disk; ok && r != nil && d != nil && r.Identity == "" {
		known := *r
		known.Identity, known.Class, known.Entry = d.Identity, d.Class, d.Entry
		s.in.Record = &known
	}
	return ok
}

// unspoken returns an error if a PV may be the volume's: nobody wipes by
// command what a PV speaks for.
func (a *Agent) unspoken(pv *pvObject, s *situation, r volume.Record) error {
	v, ok := publish.View(pv)
	_, its := a.isOf(pv, r)
	if !its && !(ok && v.Path == s.in.Disk.Path && a.node.Misfit(pv) == "") {
		return nil // another volume has the name
	}
	a.store.Put(pv, !a.node.Labelled(pv))
	return fmt.Errorf("PV %s is there again", pv.Name)
}

// stopJobForCommand ends a Job that may still write to a volume over which a
// person has decided. It reports false when there is none.
func (a *Agent) stopJobForCommand(ctx context.Context, s *situation) (bool, error) {
	r := s.in.Record
	if r == nil || r.State != volume.Quarantined || r.Asked == "" || r.Job == "" {
		return false, nil
	}
	stopped := *r
	err := a.stopJob(ctx, s, &stopped)
	var soon away
	if errors.As(err, &soon) {
		err = soon.error
	}
	return true, err
}

// jobUID is what tells the Jobs of one wipe from those of another: the UID of
// the released PV, or when a person asked.
func jobUID(r *volume.Record) string {
	if r.PV.UID == "" && r.AskedAt != "" {
		at, err := time.Parse(time.RFC3339Nano, r.AskedAt)
		if err == nil {
			return fmt.Sprintf("asked-%d", at.UnixNano())
		}
	}
	return r.PV.UID
}

// returningTo is the only claim that may have the volume, nil for any.
func returningTo(r volume.Record) *volume.Claim {
	if r.State != volume.Returning {
		return nil
	}
	return r.Claim
}
