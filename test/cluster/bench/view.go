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

	"github.com/berth-storage/berth/api"
)

// patience is how long anything may take before it counts as not measurable.
const patience = 2 * time.Minute

// view is what a watch shows of the PVs of one owner: the node, or the bare
// client, which labels its own as if it were a node.
type view struct {
	owner string
	watch watch.Interface
	// each is called for each event, in order, if it is set before the events.
	each func(e watch.EventType, pv *corev1.PersistentVolume)

	mu    sync.Mutex // guards the rest
	pvs   map[string]*corev1.PersistentVolume
	added map[string]time.Time // when the PV of that name appeared last
	waits []*waiting
	err   error
}

// waiting is somebody who waits for the PVs to be in a certain way.
type waiting struct {
	done func(*view) bool
	at   chan time.Time
}

func selector(owner string) metav1.ListOptions {
	if owner == nobody {
		return metav1.ListOptions{LabelSelector: "!" + api.LabelNode}
	}
	return metav1.ListOptions{LabelSelector: api.LabelNode + "=" + owner}
}

// look starts to watch the PVs of an owner, with those that are there. The
// caller closes it.
func (b *bench) look(ctx context.Context, owner string, each func(watch.EventType, *corev1.PersistentVolume)) (*view, error) {
	pvs := b.kube.CoreV1().PersistentVolumes()
	list, err := pvs.List(ctx, selector(owner))
	if err != nil {
		return nil, fmt.Errorf("listing PVs: %w", err)
	}
	o := selector(owner)
	o.ResourceVersion = list.ResourceVersion
	v := &view{owner: owner, each: each, pvs: map[string]*corev1.PersistentVolume{}, added: map[string]time.Time{}}
	for _, pv := range list.Items {
		v.pvs[pv.Name] = &pv
	}
	if v.watch, err = pvs.Watch(ctx, o); err != nil {
		return nil, fmt.Errorf("watching PVs: %w", err)
	}
	go v.follow()
	return v, nil
}

func (v *view) close() { v.watch.Stop() }

func (v *view) follow() {
	for e := range v.watch.ResultChan() {
		at := time.Now()
		pv, ok := e.Object.(*corev1.PersistentVolume)
		if !ok {
			v.fail(fmt.Errorf("watching PVs: %w", apierrors.FromObject(e.Object)))
			return
		}
		v.take(e.Type, pv, at)
		if v.each != nil {
			v.each(e.Type, pv)
		}
	}
	v.fail(fmt.Errorf("watching PVs: the watch ended"))
}

func (v *view) take(e watch.EventType, pv *corev1.PersistentVolume, at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e {
	case watch.Added:
		v.added[pv.Name] = at
		v.pvs[pv.Name] = pv
	case watch.Modified:
		v.pvs[pv.Name] = pv
	case watch.Deleted:
		delete(v.pvs, pv.Name)
	}
	still := v.waits[:0]
	for _, w := range v.waits {
		if w.done(v) {
			w.at <- at
		} else {
			still = append(still, w)
		}
	}
	v.waits = still
}

func (v *view) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
	for _, w := range v.waits {
		close(w.at)
	}
	v.waits = nil
}

// until waits until done holds and returns the moment when the event came that
// made it so; now if it does already. done is called with the view locked.
func (v *view) until(ctx context.Context, what string, done func(*view) bool) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w := &waiting{done: done, at: make(chan time.Time, 1)}
	v.mu.Lock()
	switch {
	case v.err != nil:
		defer v.mu.Unlock()
		return time.Time{}, v.err
	case done(v):
		v.mu.Unlock()
		return time.Now(), nil
	}
	v.waits = append(v.waits, w)
	v.mu.Unlock()
	select {
	case at, ok := <-w.at:
		if ok {
			return at, nil
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		return time.Time{}, v.err
	case <-ctx.Done():
		v.mu.Lock()
		defer v.mu.Unlock()
		return time.Time{}, fmt.Errorf("waiting for %s, with %d PVs there: %w", what, len(v.pvs), context.Cause(ctx))
	}
}

// count waits until there are n PVs.
func (v *view) count(ctx context.Context, n int) (time.Time, error) {
	return v.until(ctx, fmt.Sprintf("%d PVs", n), func(v *view) bool { return len(v.pvs) == n })
}

// names are those of the PVs there.
func (v *view) names() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var names []string
	for name := range v.pvs {
		names = append(names, name)
	}
	return names
}
