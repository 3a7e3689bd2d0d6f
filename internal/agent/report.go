package agent

import (
	"context"
	"fmt"
	"hash/crc32"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

// reports tells the operator of each trouble once: in the log, as an event and
// in a metric; and once more, in the log, when it is over. A trouble's subject
// is the entry, class or volume that has it.
type reports struct {
	log   *slog.Logger
	event func(about []corev1.ObjectReference, reason, message string)
	node  corev1.ObjectReference

	mu      sync.Mutex // guards the rest
	current map[string]report
	soon    map[string]*time.Timer // troubles that are reported if they last
}

type report struct{ reason, message string }

// set reports a trouble, unless the same was reported for the subject last.
// The event goes to the node, and to each object in about.
func (r *reports) set(subject, reason, message string, about ...corev1.ObjectReference) {
	if !r.note(subject, reason, message) {
		return
	}
	if len(about) == 0 {
		about = []corev1.ObjectReference{r.node}
	}
	r.event(about, reason, message)
}

// note reports a trouble without an event, and returns whether it is news.
func (r *reports) note(subject, reason, message string) bool {
	r.mu.Lock()
	same := r.current[subject] == report{reason, message}
	r.current[subject] = report{reason, message}
	r.mu.Unlock()
	if !same {
		r.log.Warn(message, "reason", reason, "subject", subject)
	}
	return !same
}

// setIfItLasts reports a trouble that is still there after a while.
func (r *reports) setIfItLasts(subject, reason, message string, while time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.soon[subject]; ok {
		return
	}
	r.soon[subject] = time.AfterFunc(while, func() {
		r.mu.Lock()
		_, still := r.soon[subject]
		delete(r.soon, subject)
		r.mu.Unlock()
		if still {
			r.set(subject, reason, message)
		}
	})
}

// clear says that the subject has no trouble any more.
func (r *reports) clear(subject string) {
	r.mu.Lock()
	if t := r.soon[subject]; t != nil {
		t.Stop()
		delete(r.soon, subject)
	}
	old, ok := r.current[subject]
	delete(r.current, subject)
	r.mu.Unlock()
	if ok {
		r.log.Info("over: "+old.message, "reason", old.reason, "subject", subject)
	}
}

// about returns the trouble that a subject has.
func (r *reports) about(subject string) (report, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, ok := r.current[subject]
	return t, ok
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

// reportVolume reports trouble with a volume, on its PV and the claim that has
// it. Of a disk that is gone tellState writes the events.
func (a *Agent) reportVolume(id volume.ID, s situation, reason, message string) {
	if reason == api.ReasonDiskGone && s.in.PV != nil {
		a.reports.note(volumeSubject(id), reason, message)
		return
	}
	about := aboutVolume(s.in.PV)
	if s.in.PV == nil && s.in.Want != nil {
		about = aboutClaim(s.in.Want.Claim)
	}
	a.reports.set(volumeSubject(id), reason, message, about...)
}

// eventQueue is how many events may wait to be written. More at once are
// dropped: the log and the metric have them all.
const eventQueue = 100

type event struct {
	about           corev1.ObjectReference
	reason, message string
}

// queueEvent hands an event to writeEvents, without waiting for the API server.
func (a *Agent) queueEvent(about []corev1.ObjectReference, reason, message string) {
	for _, o := range about {
		select {
		case a.events <- event{o, reason, message}:
		default:
			a.metrics.eventsDropped.Inc()
		}
	}
}

// writeEvents writes the queued events until ctx ends.
func (a *Agent) writeEvents(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-a.events:
			if err := a.cluster.Event(ctx, a.kubeEvent(e)); err != nil && ctx.Err() == nil {
				a.metrics.eventsDropped.Inc()
				a.log.Warn("an event could not be written", "err", err, "reason", e.reason)
			}
		}
	}
}

func (a *Agent) kubeEvent(e event) *corev1.Event {
	ns := e.about.Namespace
	if ns == "" {
		ns = metav1.NamespaceDefault // where Kubernetes keeps events about objects of the cluster
	}
	now := metav1.Now()
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprintf("%s.%x%08x", e.about.Name, now.UnixNano(), crc32.ChecksumIEEE([]byte(e.reason)))},
		InvolvedObject: e.about,
		Reason:         e.reason,
		Message:        e.message,
		Type:           eventType(e.reason),
		Source:         corev1.EventSource{Component: "berth-agent", Host: a.node.Name},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		ReportingController: "berth.storage/agent", ReportingInstance: a.node.Name,
	}
}

// eventType says whether an event with a reason tells of trouble.
func eventType(reason string) string {
	switch reason {
	case api.ReasonDiskBack, api.ReasonCommanded, api.ReasonWipeProgress, api.ReasonWipeStopped:
		return corev1.EventTypeNormal
	}
	return corev1.EventTypeWarning
}
