package placement

import (
	"fmt"
	"maps"
	"sync"
)

// mirror is what is known of all objects of a kind: a few words of each. A watch
// feeds it, through the methods of a cache.ReflectorStore.
type mirror[T any] struct {
	// view reads an object's key and what is kept of it; keep is false for one
	// that is not to be kept.
	view func(obj any) (key string, v T, keep bool, err error)
	// changed is called after each change, with what was known before and what is
	// known now; nil for nothing.
	changed func(key string, old, now *T)

	mu     sync.Mutex // guards the rest
	byKey  map[string]T
	synced bool
}

func newMirror[T any](view func(any) (string, T, bool, error), changed func(string, *T, *T)) *mirror[T] {
	return &mirror[T]{view: view, changed: changed, byKey: map[string]T{}}
}

// Synced reports whether a whole list has been read.
func (m *mirror[T]) Synced() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.synced
}

// Get returns what is known of an object, nil for nothing.
func (m *mirror[T]) Get(key string) *T {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.byKey[key]; ok {
		return &v
	}
	return nil
}

// All returns what is known of all objects.
func (m *mirror[T]) All() map[string]T {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.byKey)
}

func (m *mirror[T]) set(key string, now *T) {
	m.mu.Lock()
	var old *T
	if v, ok := m.byKey[key]; ok {
		old = &v
	}
	if delete(m.byKey, key); now != nil {
		m.byKey[key] = *now
	}
	m.mu.Unlock()
	if old != nil || now != nil {
		m.changed(key, old, now)
	}
}

// Add takes in a new object.
func (m *mirror[T]) Add(obj any) error { return m.Update(obj) }

// Update takes in an object's new form.
func (m *mirror[T]) Update(obj any) error {
	key, v, keep, err := m.view(obj)
	if err != nil {
		return err
	}
	if keep {
		m.set(key, &v)
	} else {
		m.set(key, nil)
	}
	return nil
}

// Delete takes an object out.
func (m *mirror[T]) Delete(obj any) error {
	key, _, _, err := m.view(obj)
	if err != nil {
		return err
	}
	m.set(key, nil)
	return nil
}

// Replace takes in a whole list.
func (m *mirror[T]) Replace(objs []any, _ string) error {
	now := make(map[string]T, len(objs))
	for _, obj := range objs {
		key, v, keep, err := m.view(obj)
		if err != nil {
			return fmt.Errorf("taking in a list: %w", err)
		}
		if keep {
			now[key] = v
		}
	}
	m.mu.Lock()
	before := m.byKey
	m.byKey, m.synced = now, true
	now = maps.Clone(now)
	m.mu.Unlock()
	for key, v := range now {
		if old, ok := before[key]; ok {
			m.changed(key, &old, &v)
		} else {
			m.changed(key, nil, &v)
		}
	}
	for key, old := range before {
		if _, ok := now[key]; !ok {
			m.changed(key, &old, nil)
		}
	}
	return nil
}

// Resync does nothing: nothing is ever resynced.
func (m *mirror[T]) Resync() error { return nil }
