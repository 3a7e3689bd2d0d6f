package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// track is what a watch shows of all objects of a kind.
type track[T metav1.Object] struct {
	what  string
	watch watch.Interface

	mu      sync.Mutex // guards the rest
	objects map[string]T
	each    func(T, time.Time) // called for each object that comes or changes
	waits   []*trackWait[T]
	err     error
}

type trackWait[T metav1.Object] struct {
	done func(map[string]T) bool
	at   chan time.Time
}

// newTrack starts to watch. The caller closes it.
func newTrack[T metav1.Object, L metav1.ListInterface](ctx context.Context, what string,
	follow func(context.Context, metav1.ListOptions) (watch.Interface, error),
	list func(context.Context, metav1.ListOptions) (L, error), items func(L) []T) (*track[T], error) {
	l, err := list(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", what, err)
	}
	t := &track[T]{what: what, objects: map[string]T{}}
	for _, o := range items(l) {
		t.objects[o.GetName()] = o
	}
	if t.watch, err = follow(ctx, metav1.ListOptions{ResourceVersion: l.GetResourceVersion()}); err != nil {
		return nil, fmt.Errorf("watching %s: %w", what, err)
	}
	go t.follow()
	return t, nil
}

func podItems(l *corev1.PodList) []*corev1.Pod { return pointers(l.Items) }
func claimItems(l *corev1.PersistentVolumeClaimList) []*corev1.PersistentVolumeClaim {
	return pointers(l.Items)
}
func pvItems(l *corev1.PersistentVolumeList) []*corev1.PersistentVolume { return pointers(l.Items) }

func pointers[T any](items []T) (all []*T) {
	for i := range items {
		all = append(all, &items[i])
	}
	return all
}

func (t *track[T]) close() { t.watch.Stop() }

func (t *track[T]) follow() {
	for e := range t.watch.ResultChan() {
		at := time.Now()
		o, ok := e.Object.(T)
		t.mu.Lock()
		switch {
		case !ok:
			t.err = fmt.Errorf("watching %s: %w", t.what, apierrors.FromObject(e.Object))
		case e.Type == watch.Deleted:
			delete(t.objects, o.GetName())
		default:
			t.objects[o.GetName()] = o
			if t.each != nil {
				t.each(o, at)
			}
		}
		still := t.waits[:0]
		for _, w := range t.waits {
			if t.err != nil {
				close(w.at)
			} else if w.done(t.objects) {
				w.at <- at
			} else {
				still = append(still, w)
			}
		}
		t.waits = still
		t.mu.Unlock()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = fmt.Errorf("watching %s: the watch ended", t.what)
	for _, w := range t.waits {
		close(w.at)
	}
	t.waits = nil
}

// onEach has a function called for each object that comes or changes from now
// on, nobody with nil.
func (t *track[T]) onEach(each func(T, time.Time)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.each = each
}

// until waits until done holds, and returns when the event came that made it so;
// now if it does already.
func (t *track[T]) until(ctx context.Context, what string, done func(map[string]T) bool) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w := &trackWait[T]{done: done, at: make(chan time.Time, 1)}
	t.mu.Lock()
	if t.err != nil {
		defer t.mu.Unlock()
		return time.Time{}, t.err
	}
	if done(t.objects) {
		t.mu.Unlock()
		return time.Now(), nil
	}
	t.waits = append(t.waits, w)
	t.mu.Unlock()
	select {
	case at, ok := <-w.at:
		if ok {
			return at, nil
		}
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return time.Time{}, t.err
	}
	return time.Time{}, fmt.Errorf("waiting for %s, with %d %s there: %w", what, len(t.objects), t.what, context.Cause(ctx))
}

// none waits until there are no objects any more.
func (t *track[T]) none(ctx context.Context) error {
	_, err := t.until(ctx, "no "+t.what, func(all map[string]T) bool { return len(all) == 0 })
	return err
}

// count is how many of the objects are in a certain way.
func count[T any](all map[string]T, is func(T) bool) (n int) {
	for _, o := range all {
		if is(o) {
			n++
		}
	}
	return n
}
