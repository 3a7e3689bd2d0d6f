package recovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// reports tells the operator of each trouble once: in the log, in a metric, and
// as an event to each object it is about; and once more, in the log, when it is
// over. Its subject is a PV's name, or what is wrong with all of them.
type reports struct {
	log   *slog.Logger
	event func(ctx context.Context, about corev1.ObjectReference, kind, reason, message string)

	mu      sync.Mutex // guards current
	current map[string]report
}

type report struct{ reason, message string }

func (r *reports) set(ctx context.Context, subject, reason, message string, about ...corev1.ObjectReference) {
	r.mu.Lock()
	same := r.current[subject] == report{reason, message}
	r.current[subject] = report{reason, message}
	r.mu.Unlock()
	if same {
		return
	}
	r.log.Warn(message, "reason", reason, "subject", subject)
	for _, o := range about {
		r.event(ctx, o, corev1.EventTypeWarning, reason, message)
	}
}

// clear says that the subject has no trouble any more.
func (r *reports) clear(subject string) {
	if old, ok := r.drop(subject); ok {
		r.log.Info("over: "+old.message, "reason", old.reason, "subject", subject)
	}
}

// drop forgets a subject that is gone.
func (r *reports) drop(subject string) (report, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, ok := r.current[subject]
	delete(r.current, subject)
	return old, ok
}

// counts returns how many subjects have trouble, by reason.
func (r *reports) counts() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]int{}
	for _, t := range r.current {
		out[t.reason]++
	}
	return out
}

// about is what a trouble with the volume is told to.
func (v Volume) about() []corev1.ObjectReference {
	if v.Name == "" {
		return nil
	}
	about := []corev1.ObjectReference{{APIVersion: "v1", Kind: "PersistentVolume", Name: v.Name, UID: types.UID(v.UID)}}
	if v.claimed() {
		about = append(about, v.Claim.ref())
	}
	return about
}

func (c Claim) ref() corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: c.Namespace, Name: c.Name, UID: types.UID(c.UID)}
}

// event writes an event, or says that it could not.
func (c *controller) event(ctx context.Context, about corev1.ObjectReference, kind, reason, message string) {
	namespace := about.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault // where Kubernetes keeps events about objects of the cluster
	}
	now := metav1.Now()
	err := c.cluster.Event(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%s.%x", about.Name, now.UnixNano())},
		InvolvedObject: about,
		Reason:         reason,
		Message:        message,
		Type:           kind,
		Source:         corev1.EventSource{Component: "berth-controller"},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		ReportingController: "berth.storage/controller", ReportingInstance: c.o.Identity,
	})
	if err != nil {
		c.metrics.eventsDropped.Inc()
		c.log.Warn("an event could not be written", "err", err, "reason", reason)
	}
}

// isLease reports whether an answer of the API server is about a Lease.
func isLease(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind == "leases"
}
