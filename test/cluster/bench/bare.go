package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// bareWorkers is how many requests the bare client has under way at once.
const bareWorkers = 8

// parallel does something for each item with bareWorkers goroutines and
// returns the first error.
func parallel[T any](ctx context.Context, items []T, do func(T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan T)
	var running sync.WaitGroup
	for range bareWorkers {
		running.Go(func() {
			for item := range queue {
				if err := do(item); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, item := range items {
		if ctx.Err() != nil {
			break
		}
		queue <- item
	}
	close(queue)
	running.Wait()
	return context.Cause(ctx)
}

// createBare creates n PVs like the sample and returns how long it took until
// a watch has shown them all.
func (b *bench) createBare(ctx context.Context, sample *corev1.PersistentVolume, n int) (seconds float64, err error) {
	v, err := b.look(ctx, bareOwner, nil)
	if err != nil {
		return 0, err
	}
	defer v.close()
	pvs := make([]*corev1.PersistentVolume, n)
	for i := range pvs {
		pvs[i] = like(sample, bareOwner, i)
	}
	begun := time.Now()
	if err := b.create(ctx, pvs); err != nil {
		return 0, err
	}
	at, err := v.count(ctx, n)
	return at.Sub(begun).Seconds(), err
}

func (b *bench) create(ctx context.Context, pvs []*corev1.PersistentVolume) error {
	err := parallel(ctx, pvs, func(pv *corev1.PersistentVolume) error {
		_, err := b.kube.CoreV1().PersistentVolumes().Create(ctx, pv, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("creating PVs: %w", err)
	}
	return nil
}

// recycler is a bare client that deletes each PV when it is released and
// creates it anew when it is gone. It has no finalizer to take off and looks at
// no disk, so nothing that does the job can be much faster.
type recycler struct {
	b       *bench
	sample  *corev1.PersistentVolume
	running sync.WaitGroup

	mu       sync.Mutex // guards the rest
	deleting map[string]bool
	index    map[string]int // of each PV, by name
	err      error
}

// see takes in an event of the watch.
func (r *recycler) see(ctx context.Context, e watch.EventType, pv *corev1.PersistentVolume) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pvs := r.b.kube.CoreV1().PersistentVolumes()
	switch {
	case e == watch.Deleted:
		delete(r.deleting, pv.Name)
		r.do(func() error {
			_, err := pvs.Create(ctx, r.pv(r.index[pv.Name]), metav1.CreateOptions{})
			return err
		})
	case pv.Status.Phase == corev1.VolumeReleased && !r.deleting[pv.Name]:
		r.deleting[pv.Name] = true
		r.do(func() error { return pvs.Delete(ctx, pv.Name, metav1.DeleteOptions{}) })
	}
}

// pv is the recycler's form of a PV, without a finalizer.
func (r *recycler) pv(i int) *corev1.PersistentVolume {
	pv := like(r.sample, bareOwner, i)
	pv.Finalizers = nil
	return pv
}

func (r *recycler) do(request func() error) {
	r.running.Go(func() {
		if err := request(); err != nil {
			r.mu.Lock()
			r.err = err
			r.mu.Unlock()
		}
	})
}

// wait waits for requests under way and returns an error of any.
func (r *recycler) wait() error {
	r.running.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}
