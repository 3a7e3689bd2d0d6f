package vm

import (
	"context"
	"errors"
	"sync"
)

// Health is how a disk answers.
type Health int

// A disk that fails answers every request with an IO error. One that hangs
// does not answer, and does what it was asked for once it is healthy again; the
// kernel waits for a virtio disk forever, for others about half a minute.
const (
	Healthy Health = iota
	Failing
	Hanging
)

// SetHealth makes a disk sick, or healthy, whether the machine is on or off. It
// may be used beside the machine's other methods.
func (m *Machine) SetHealth(serial string, h Health) error {
	d, err := m.disk(serial)
	if err == nil {
		d.content.health.set(h)
	}
	return err
}

var errSick = errors.New("IO error")

// health is a Health that can be waited for.
type health struct {
	mu      sync.Mutex // guards the rest
	is      Health
	changed chan struct{} // closed, and another, when is does
}

func (h *health) set(to Health) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.is = to; h.changed != nil {
		close(h.changed)
	}
	h.changed = nil
}

// await returns when the disk answers: nil, errSick, or ctx's error.
func (h *health) await(ctx context.Context) error {
	for {
		h.mu.Lock()
		is := h.is
		if h.changed == nil {
			h.changed = make(chan struct{})
		}
		changed := h.changed
		h.mu.Unlock()
		switch is {
		case Healthy:
			return nil
		case Failing:
			return errSick
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
