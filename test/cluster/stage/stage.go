//go:build cluster

// Package stage is what the cluster tests of volumes play on: a namespace of a
// test's own, a view of the volumes, a deadline, and ways to wait for what users
// see. Which agents look after the volumes, and how they were installed, is the
// test's business.
//
// It has no tests. A wait that fails ends the test, with what was waited for.
package stage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/clustertest"
	"github.com/berth-storage/berth/test/cluster/pvwatch"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// Patience is how long anything may take; far more than it should.
const Patience = 2 * time.Minute

// Agents says which pods are the agents.
type Agents struct{ Namespace, Selector string }

// Stage is what one test works with.
type Stage struct {
	*testing.T
	Ctx    context.Context
	C      *cluster.Cluster
	Space  *workload.Space
	PVs    *pvwatch.Recorder
	agents Agents
}

// Begin prepares a test. At its end the namespace is emptied, and after a
// failure the agents' logs and the events are printed.
func Begin(t *testing.T, agents Agents) *Stage {
	t.Helper()
	ctx, c := clustertest.Get(t)
	ctx, cancel := context.WithTimeoutCause(ctx, 2*Patience, errors.New("the test's time is over"))
	t.Cleanup(cancel)
	e := &Stage{T: t, Ctx: ctx, C: c, agents: agents}
	begun := time.Now()
	var err error
	e.PVs, err = pvwatch.Watch(ctx, c.Client())
	e.Must(err)
	e.Space, err = workload.Open(ctx, c.Client(), strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())))
	e.Must(err)
	t.Cleanup(func() {
		if t.Failed() {
			e.explain(begun)
		}
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := e.Space.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

// Must ends the test when there is an error.
func (e *Stage) Must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// explain prints what the agents said since the test began, and all events.
func (e *Stage) explain(since time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	from := metav1.NewTime(since)
	for _, p := range e.pods(ctx) {
		log, err := e.C.Client().CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{SinceTime: &from}).DoRaw(ctx)
		e.Logf("%s on %s (%v):\n%s", p.Name, p.Spec.NodeName, err, log)
	}
	for _, args := range [][]string{{"get", "pv"}, {"-n", e.Space.Name, "get", "pods,pvc", "-o", "wide"}, {"get", "events", "-A"}} {
		out, err := e.C.Kubectl(ctx, args...)
		e.Logf("%v (%v):\n%s", args, err, out)
	}
}

// Until asks again and again until done returns nil.
func (e *Stage) Until(what string, done func(context.Context) error) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Ctx, Patience)
	defer cancel()
	e.Must(workload.Until(ctx, what, done))
}

// Event waits for an event since a moment, about an object, that mentions a text.
func (e *Stage) Event(since time.Time, kind, name, reason, text string) {
	e.Helper()
	e.Until(fmt.Sprintf("an event %s about %s %s that mentions %q", reason, kind, name, text), func(ctx context.Context) error {
		events, err := e.C.Client().CoreV1().Events("").List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.kind=" + kind + ",involvedObject.name=" + name + ",reason=" + reason,
		})
		if err != nil {
			return err
		}
		for _, ev := range events.Items {
			// Events have whole seconds.
			if !ev.LastTimestamp.Time.Before(since.Truncate(time.Second)) && strings.Contains(ev.Message, text) {
				return nil
			}
		}
		return fmt.Errorf("there are %d others", len(events.Items))
	})
}

// RunPod runs a script to its end, with claims that it makes, and returns what
// it printed. The pod is deleted; the claims stay.
func (e *Stage) RunPod(p workload.Pod) string {
	e.Helper()
	e.Must(e.Space.Create(e.Ctx, p))
	return e.FinishPod(p.Name)
}

// FinishPod waits for the end of a pod's script, deletes the pod, and returns
// what it printed.
func (e *Stage) FinishPod(name string) string {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Ctx, Patience)
	defer cancel()
	log, err := e.Space.WaitDone(ctx, name)
	e.Must(err)
	e.Must(e.Space.DeletePod(ctx, name))
	return strings.TrimSpace(log)
}

// NoPods waits until the namespace has no pods, so that no volume is mounted.
func (e *Stage) NoPods() {
	e.Helper()
	e.Until("the pods to be gone", func(ctx context.Context) error {
		pods, err := e.C.Client().CoreV1().Pods(e.Space.Name).List(ctx, metav1.ListOptions{})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("there is still %s", pods.Items[0].Name)
		}
		return err
	})
}
