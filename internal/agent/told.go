package agent

import (
	"sync"
	"sync/atomic"

	"github.com/berth-storage/berth/internal/volume"
)

// toldStates is what the agent knows of the volumes that something is wrong with.
type toldStates struct {
	mayAnnotate atomic.Bool // false once the API server has forbidden it
	mayList     atomic.Bool // the same for pods

	mu     sync.Mutex           // guards the rest
	gone   map[volume.ID]string // volumes whose disk is gone → their class
	told   map[volume.ID]string // what was told last, for want of annotations
	failed map[volume.ID]bool   // what could not be told, and is tried again
}

func newToldStates() *toldStates {
	t := &toldStates{gone: map[volume.ID]string{}, told: map[volume.ID]string{}, failed: map[volume.ID]bool{}}
	t.mayAnnotate.Store(true)
	t.mayList.Store(true)
	return t
}

// setGone notes whether a volume's disk is gone.
func (t *toldStates) setGone(id volume.ID, class string, gone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.gone, id)
	if gone {
		t.gone[id] = class
	}
}

// last returns what was told of a volume last. A PV that may not be annotated
// does not tell after a restart.
func (t *toldStates) last(id volume.ID, pv volume.PV) string {
	if t.mayAnnotate.Load() {
		return pv.State
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.told[id]
}

func (t *toldStates) set(id volume.ID, state string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.told, id)
	if state != "" {
		t.told[id] = state
	}
}

// fails notes whether something could not be told, and reports whether that is news.
func (t *toldStates) fails(id volume.ID, failed bool) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	news = failed && !t.failed[id]
	delete(t.failed, id)
	if failed {
		t.failed[id] = true
	}
	return news
}

// forget ends what is known of a volume that is not looked after any more.
func (t *toldStates) forget(id volume.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.gone, id)
	delete(t.told, id)
	delete(t.failed, id)
}

// rename is called when it is known which volume's a PV is.
func (t *toldStates) rename(from, to volume.ID) {
	t.mu.Lock()
	state, ok := t.told[from]
	if ok {
		t.told[to] = state
	}
	t.mu.Unlock()
	t.forget(from)
}

// byClass returns how many volumes of each class have lost their disk.
func (t *toldStates) byClass() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string]int{}
	for _, class := range t.gone {
		out[class]++
	}
	return out
}
