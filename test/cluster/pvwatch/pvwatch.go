// Package pvwatch keeps what a watch of PersistentVolumes brings, with the
// moment it came, so that the demo and the tests can wait for a state and tell
// how long it took to get there. It changes nothing.
package pvwatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// Seen is one change of a PersistentVolume. PV is shared and must not be
// changed.
type Seen struct {
	At   time.Time // when the watch brought it
	PV   *corev1.PersistentVolume
	Gone bool
}

// Recorder has the PersistentVolumes of a cluster, and what happened to them
// since it was made.
type Recorder struct {
	client kubernetes.Interface

	mu      sync.Mutex // guards all below
	now     map[string]*corev1.PersistentVolume
	history []Seen
	changed chan struct{} // closed at the next change
}

// Watch starts a recorder. It ends with the context.
func Watch(ctx context.Context, client kubernetes.Interface) (*Recorder, error) {
	r := &Recorder{client: client, now: map[string]*corev1.PersistentVolume{}, changed: make(chan struct{})}
	version, err := r.list(ctx)
	if err != nil {
		return nil, err
	}
	go r.run(ctx, version)
	return r, nil
}

// run follows the watch, and starts anew with a list when it breaks off.
func (r *Recorder) run(ctx context.Context, version string) {
	for ctx.Err() == nil {
		var err error
		if version == "" {
			version, err = r.list(ctx)
		}
		if err == nil {
			err = r.follow(ctx, version)
		}
		version = ""
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond): // the API server is away
			}
		}
	}
}

func (r *Recorder) list(ctx context.Context) (version string, err error) {
	list, err := r.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("listing PersistentVolumes: %w", err)
	}
	here := map[string]bool{}
	for i := range list.Items {
		here[list.Items[i].Name] = true
		r.take(&list.Items[i], false)
	}
	r.mu.Lock()
	var gone []*corev1.PersistentVolume
	for name, pv := range r.now {
		if !here[name] {
			gone = append(gone, pv)
		}
	}
	r.mu.Unlock()
	for _, pv := range gone {
		r.take(pv, true)
	}
	return list.ResourceVersion, nil
}

func (r *Recorder) follow(ctx context.Context, version string) error {
	w, err := r.client.CoreV1().PersistentVolumes().Watch(ctx, metav1.ListOptions{ResourceVersion: version})
	if err != nil {
		return fmt.Errorf("watching PersistentVolumes: %w", err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		pv, ok := e.Object.(*corev1.PersistentVolume)
		if !ok {
			return errors.New("watching PersistentVolumes: the watch broke off")
		}
		r.take(pv, e.Type == watch.Deleted)
	}
	return nil
}

func (r *Recorder) take(pv *corev1.PersistentVolume, gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.now[pv.Name]; !gone && old != nil && old.ResourceVersion == pv.ResourceVersion {
		return
	}
	r.history = append(r.history, Seen{At: time.Now(), PV: pv, Gone: gone})
	if gone {
		delete(r.now, pv.Name)
	} else {
		r.now[pv.Name] = pv
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// All has the PersistentVolumes that exist, by name.
func (r *Recorder) All() []*corev1.PersistentVolume {
	all, _ := r.look()
	return all
}

func (r *Recorder) look() ([]*corev1.PersistentVolume, chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*corev1.PersistentVolume
	for _, pv := range r.now {
		all = append(all, pv)
	}
	slices.SortFunc(all, func(a, b *corev1.PersistentVolume) int { return strings.Compare(a.Name, b.Name) })
	return all, r.changed
}

// Wait looks at every change until done returns nil. When the context ends
// first, the error says what was waited for and what done said last.
func (r *Recorder) Wait(ctx context.Context, what string, done func([]*corev1.PersistentVolume) error) error {
	for {
		all, changed := r.look()
		err := done(all)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w: %w", what, context.Cause(ctx), err)
		case <-changed:
		}
	}
}

// Find is the PersistentVolume for a path on a node, nil if there is none.
func Find(all []*corev1.PersistentVolume, node, path string) *corev1.PersistentVolume {
	for _, pv := range all {
		if pv.Spec.Local != nil && pv.Spec.Local.Path == path && Node(pv) == node {
			return pv
		}
	}
	return nil
}

// Node is the node that a PersistentVolume's affinity names.
func Node(pv *corev1.PersistentVolume) string {
	if a := pv.Spec.NodeAffinity; a != nil && a.Required != nil && len(a.Required.NodeSelectorTerms) == 1 {
		if e := a.Required.NodeSelectorTerms[0].MatchExpressions; len(e) == 1 && len(e[0].Values) == 1 {
			return e[0].Values[0]
		}
	}
	return ""
}

// First is the first change since a moment that matches.
func (r *Recorder) First(since time.Time, match func(Seen) bool) (Seen, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.history {
		if !s.At.Before(since) && match(s) {
			return s, true
		}
	}
	return Seen{}, false
}
