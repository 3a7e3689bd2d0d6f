package agent

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/job"
	"github.com/berth-storage/berth/internal/volume"
)

// Bounds on the wipes that another program does, in the agent or in a Job. One
// that fails ten times in eight minutes needs a person; the kernel's errors, of
// which the agent's own wipes fail, may pass.
const (
	maxTries = 10
	firstTry = time.Second
	lastTry  = 5 * time.Minute
)

// tries remembers how often in a row another program has failed to wipe a
// volume, until something that may help has changed. A new agent knows of none.
type tries struct {
	mu   sync.Mutex // guards byID
	byID map[volume.ID]tried
}

type tried struct {
	with   attempt
	failed int
	next   time.Time // not again before
	err    error     // the last one
}

// attempt is what a try was made with, and with what another may go better.
type attempt struct {
	entry       entry
	wipe        config.Wipe
	tolerations []config.Toleration
}

func newTries() *tries { return &tries{byID: map[volume.ID]tried{}} }

// get returns the failures so far of tries made with the same.
func (t *tries) get(id volume.ID, with attempt) tried {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, ok := t.byID[id]
	if !ok || !reflect.DeepEqual(last.with, with) {
		delete(t.byID, id)
		return tried{with: with}
	}
	return last
}

// add takes in a failure.
func (t *tries) add(id volume.ID, with attempt, err error) tried {
	last := t.get(id, with)
	wait := min(firstTry<<last.failed, lastTry)
	last.failed++
	last.next = time.Now().Add(wait/2 + rand.N(wait/2+1))
	last.err = err
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID[id] = last
	return last
}

// forget is for a volume that was wiped, or whose disk is gone.
func (t *tries) forget(id volume.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byID, id)
}

// later is the error of what is not to be done yet, and of which nothing new is
// to be reported.
type later struct{ wait time.Duration }

func (l later) Error() string { return fmt.Sprintf("not before %s", l.wait) }

// mayTry reports whether a wipe by another program may be tried now. If not,
// the error says when; nil for not until something has changed.
func (a *Agent) mayTry(id volume.ID, s *situation) (bool, error) {
	t := a.tries.get(id, a.attempt(s))
	if t.failed >= maxTries {
		a.reportVolume(id, *s, api.ReasonWipeFailed, fmt.Sprintf(
			"%s of %s failed %d times in a row and is not tried again until the wipe of class %s is edited, its disk is changed or the agent is restarted; the last time: %v",
			volume.Wipe, describe(*s), t.failed, s.slot.class.Name, t.err))
		return false, nil
	}
	if wait := time.Until(t.next); wait > 0 {
		return false, later{wait}
	}
	return true, nil
}

// tryFailed takes in that another program has failed to wipe a volume.
func (a *Agent) tryFailed(id volume.ID, s *situation, err error) error {
	t := a.tries.add(id, a.attempt(s), err)
	if t.failed >= maxTries {
		_, err := a.mayTry(id, s)
		return err
	}
	a.reportVolume(id, *s, api.ReasonWipeFailed, fmt.Sprintf("%s of %s failed, trying again up to %d times: %v", volume.Wipe, describe(*s), maxTries, err))
	return later{max(time.Until(t.next), firstTry/2)}
}

func (a *Agent) attempt(s *situation) attempt {
	return attempt{s.slot.entry, s.slot.class.Wipe, a.config().JobTolerations}
}

// failedProgram reports whether a wipe's error is another program's failure.
func failedProgram(s slot, err error) bool {
	return byProgram(s) && (!s.class.Wipe.Job || errors.Is(err, job.ErrFailed))
}

// byProgram reports whether another program wipes the volume.
func byProgram(s slot) bool {
	return s.entry.Kind == kindDevice && (s.class.Wipe.Job || s.class.Wipe.Method == config.WipeCommand)
}
