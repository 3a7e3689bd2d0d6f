package agent

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	corev1 "k8s.io/api/core/v1"
)

// fault is what is wrong with an API server. The zero value is nothing.
type fault struct {
	answer func(effect func() error) error // in place of a request's effect
	deaf   bool                            // the watch is open and brings nothing
}

var apiFaults = map[string]fault{
	"refuses": {answer: func(func() error) error { return apierrors.NewServiceUnavailable("down") }},
	// The worse kind of time-out: what was asked for is done, and nobody learns of it.
	"times out": {answer: func(effect func() error) error {
		return errors.Join(fmt.Errorf("asking: %w", context.DeadlineExceeded), effect())
	}},
	"conflicts": {answer: func(func() error) error {
		return apierrors.NewConflict(corev1.Resource("persistentvolumes"), "any", errors.New("somebody else was faster"))
	}},
	"returns half a watch": {deaf: true},
}

func (p fakeAPI) request(name string, effect func() error) error {
	return p.step(name, func() error {
		switch {
		case p.w.down:
			return apierrors.NewServiceUnavailable("down")
		case p.w.fault.answer != nil:
			return p.w.fault.answer(effect)
		}
		return effect()
	})
}

// listLabelled lists this node's PVs into the agent's store, as happens when a
// watch begins.
func (p *process) listLabelled(t *testing.T, a *Agent) {
	p.w.mu.Lock()
	var list []any
	for _, pv := range p.w.pvs {
		if a.node.Labelled(pv) {
			list = append(list, pv.DeepCopy())
		}
	}
	p.w.mu.Unlock()
	if err := a.store.Replace(list, ""); err != nil {
		t.Error(err)
	}
}

// TestAPIFaults: an API server with a fault, at each point of a volume's life,
// delays what happens and changes nothing of how it ends. claimAll looks for an
// earlier tenant's bytes.
func TestAPIFaults(t *testing.T) {
	var want string
	synctest.Test(t, func(t *testing.T) { want, _, _ = live(t, beginnings["nothing published"], -1, 0, false) })
	for name, f := range apiFaults {
		for phase := range phases {
			t.Run(fmt.Sprintf("%s in phase %d", name, phase), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					if got := faulty(t, f, phase); got != want {
						t.Errorf("the end is\n%swant\n%s", got, want)
					}
				})
			})
		}
	}
}

// faulty runs a life in which the API server has a fault in one phase, and returns
// the end state.
func faulty(t *testing.T, f fault, phase int) string {
	w := newWorld(map[string]*fakeDisk{"dir": {identity: "fs:1:/"}, "dev": {identity: "wwid:2", device: true}})
	if phase == 0 {
		w.fault = f
	}
	a, stop := w.start(t, 0, false)
	defer stop()
	for i, begin := range phases {
		if i == phase {
			w.do(func() { w.fault = f })
		}
		begin(t, w, a)
		settle()
		if i == phase {
			w.do(func() { w.fault = fault{} })
			if f.deaf {
				w.process.watched <- watched{} // its end is noticed, and the list is read
			}
			settle()
		}
	}
	return w.state()
}
