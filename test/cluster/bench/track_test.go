package bench

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

func tracked(t *testing.T) (*track[*corev1.Pod], *watch.FakeWatcher) {
	w := watch.NewFake()
	pods, err := newTrack(t.Context(), "pods",
		func(context.Context, metav1.ListOptions) (watch.Interface, error) { return w, nil },
		func(context.Context, metav1.ListOptions) (*corev1.PodList, error) {
			return &corev1.PodList{Items: []corev1.Pod{*inPhase("a", corev1.PodPending)}}, nil
		}, podItems)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pods.close)
	return pods, w
}

func inPhase(name string, phase corev1.PodPhase) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.PodStatus{Phase: phase}}
}

// TestTrack: a wait ends with the event that makes it true, what was listed and
// what has gone is counted.
func TestTrack(t *testing.T) {
	pods, w := tracked(t)
	go func() {
		w.Add(inPhase("b", corev1.PodRunning))
		w.Modify(inPhase("a", corev1.PodRunning))
		w.Delete(inPhase("a", corev1.PodRunning))
		w.Delete(inPhase("b", corev1.PodRunning))
	}()
	if err := pods.none(t.Context()); err != nil {
		t.Error(err)
	}
	go w.Add(inPhase("c", corev1.PodPending))
	_, err := pods.until(t.Context(), "c", func(all map[string]*corev1.Pod) bool { return all["c"] != nil && !isRunning(all["c"]) })
	if err != nil {
		t.Error(err)
	}
}

// TestTrackEnds: nobody waits for a watch that has ended.
func TestTrackEnds(t *testing.T) {
	pods, w := tracked(t)
	go w.Error(&metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonExpired, Message: "too old"})
	if err := pods.none(t.Context()); err == nil {
		t.Error("a wait went on although the watch had ended")
	}
	if err := pods.none(t.Context()); err == nil {
		t.Error("a wait began although the watch had ended")
	}
}
