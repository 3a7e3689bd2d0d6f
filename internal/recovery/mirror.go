package recovery

import (
	"fmt"
	"sync"
)

// mirror is what is known of all objects of a kind: a few words of each, not
// the objects, by name and by other keys. A watch feeds it, through the methods
// of a cache.ReflectorStore.
type mirror[T any] struct {
	// view reads an object's name and what is kept of it; keep is false for one
	// that is not to be kept.
	view func(obj any) (name string, v T, keep bool, err error)
	// keys are what else an object is found by.
	keys func(T) []string
	// changed is called after each change, with what was known before and what
	// is known now; nil for nothing.
	changed func(name string, old, now *T)

	mu     sync.Mutex // guards the rest
	byName map[string]T
	byKey  map[string]map[string]bool // to names
	synced bool
}

func newMirror[T any](view func(any) (string, T, bool, error), keys func(T) []string, changed func(string, *T, *T)) *mirror[T] {
	return &mirror[T]{view: view, keys: keys, changed: changed, byName: map[string]T{}, byKey: map[string]map[string]bool{}}
}

// Synced reports whether a whole list has been read.
func (m *mirror[T]) Synced() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.synced
}

// Get returns what is known of an object.
func (m *mirror[T]) Get(name string) (T, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.byName[name]
	return v, ok
}

// All returns what is known of all objects.
func (m *mirror[T]) All() map[string]T {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]T, len(m.byName))
	for name, v := range m.byName {
		all[name] = v
	}
	return all
}

// With returns the names of the objects that have one of the keys.
func (m *mirror[T]) With(keys ...string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for _, k := range keys {
		for name := range m.byKey[k] {
			names = append(names, name)
		}
	}
	return set(names)
}

// put keeps v under a name, or nothing for nil, and returns what was there. The
// caller holds mu.
func (m *mirror[T]) put(name string, v *T) (old *T) {
	if was, ok := m.byName[name]; ok {
		old = &was
		for _, k := range m.keys(was) {
			if delete(m.byKey[k], name); len(m.byKey[k]) == 0 {
				delete(m.byKey, k)
			}
		}
		delete(m.byName, name)
	}
	if v != nil {
		m.byName[name] = *v
		for _, k := range m.keys(*v) {
			if m.byKey[k] == nil {
				m.byKey[k] = map[string]bool{}
			}
			m.byKey[k][name] = true
		}
	}
	return old
}

func (m *mirror[T]) set(name string, v *T) {
	m.mu.Lock()
	old := m.put(name, v)
	m.mu.Unlock()
	if old != nil || v != nil {
		m.changed(name, old, v)
	}
}

// Add takes in a new object.
func (m *mirror[T]) Add(obj any) error { return m.Update(obj) }

// Update takes in an object's new form.
func (m *mirror[T]) Update(obj any) error {
	name, v, keep, err := m.view(obj)
	if err != nil {
		return err
	}
	if keep {
		m.set(name, &v)
	} else {
		m.set(name, nil)
	}
	return nil
}

// Delete takes an object out.
func (m *mirror[T]) Delete(obj any) error {
	name, _, _, err := m.view(obj)
	if err != nil {
		return err
	}
	m.set(name, nil)
	return nil
}

// Replace takes in a whole list.
func (m *mirror[T]) Replace(objs []any, _ string) error {
	type change struct{ old, now *T }
	changes := map[string]change{}
	m.mu.Lock()
	for _, obj := range objs {
		name, v, keep, err := m.view(obj)
		if err != nil {
			m.mu.Unlock()
			return fmt.Errorf("taking in a list: %w", err)
		}
		if keep {
			changes[name] = change{m.put(name, &v), &v}
		}
	}
	for name := range m.byName {
		if _, listed := changes[name]; !listed {
			changes[name] = change{m.put(name, nil), nil}
		}
	}
	m.synced = true
	m.mu.Unlock()
	for name, c := range changes {
		m.changed(name, c.old, c.now)
	}
	return nil
}

// Resync does nothing: the controller looks at all volumes again by itself.
func (m *mirror[T]) Resync() error { return nil }
