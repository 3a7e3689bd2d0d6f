//go:build cluster

package berthtest

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/clustertest"
	"github.com/berth-storage/berth/test/cluster/pvwatch"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// patience is how long anything may take; far more than it should.
const patience = 2 * time.Minute

const agents = "app.kubernetes.io/name=berth,app.kubernetes.io/component=agent"

// env is what one test works with: a namespace of its own, a view of the
// volumes, and a deadline.
type env struct {
	*testing.T
	ctx   context.Context
	c     *cluster.Cluster
	space *workload.Space
	pvs   *pvwatch.Recorder
}

// begin prepares a test. At its end the namespace is emptied, and after a
// failure the agents' logs and the events are printed.
func begin(t *testing.T) *env {
	t.Helper()
	ctx, c := clustertest.Get(t)
	ctx, cancel := context.WithTimeoutCause(ctx, 2*patience, errors.New("the test's time is over"))
	t.Cleanup(cancel)
	e := &env{T: t, ctx: ctx, c: c}
	begun := time.Now()
	var err error
	e.pvs, err = pvwatch.Watch(ctx, c.Client())
	e.must(err)
	e.space, err = workload.Open(ctx, c.Client(), strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")))
	e.must(err)
	t.Cleanup(func() {
		if t.Failed() {
			e.explain(begun)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.space.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

func (e *env) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// explain prints what the agents said since the test began, and all events.
func (e *env) explain(since time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	from := metav1.NewTime(since)
	for _, p := range e.agentPods(ctx) {
		log, err := e.c.Client().CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{SinceTime: &from}).DoRaw(ctx)
		e.Logf("%s on %s (%v):\n%s", p.Name, p.Spec.NodeName, err, log)
	}
	for _, args := range [][]string{{"get", "pv"}, {"-n", e.space.Name, "get", "pods,pvc", "-o", "wide"}, {"get", "events", "-A"}} {
		out, err := e.c.Kubectl(ctx, args...)
		e.Logf("%v (%v):\n%s", args, err, out)
	}
}

func (e *env) agentPods(ctx context.Context) []corev1.Pod {
	pods, err := e.c.Client().CoreV1().Pods(cluster.BerthNamespace).List(ctx, metav1.ListOptions{LabelSelector: agents})
	if err != nil {
		e.Errorf("listing agents: %v", err)
		return nil
	}
	return pods.Items
}

// agent is the agent's pod on a node.
func (e *env) agent(node string) corev1.Pod {
	e.Helper()
	for _, p := range e.agentPods(e.ctx) {
		if p.Spec.NodeName == node && p.DeletionTimestamp == nil {
			return p
		}
	}
	e.Fatalf("no agent on %s", node)
	return corev1.Pod{}
}

// disk gives a node a disk of the test's own and returns its PersistentVolume.
func (e *env) disk(node, name, fs string, bytes int64) *corev1.PersistentVolume {
	e.Helper()
	_, _, err := e.c.Node(node).AddDisk(e.ctx, cluster.Disk{Name: name, FS: fs, Bytes: bytes})
	e.must(err)
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.space.Empty(ctx); err != nil {
			e.Error(err)
		}
		// A wipe that is under way has the disk open.
		err := workload.Until(ctx, "disk "+name+" to be removed", func(ctx context.Context) error {
			return e.c.Node(node).RemoveDisk(ctx, name)
		})
		if err != nil {
			e.Error(err)
		}
	})
	return e.available(node, pathOf(name, fs), "")
}

// pathOf is where a node shows a disk.
func pathOf(name, fs string) string {
	if fs == "none" {
		return path.Join(cluster.BlocksDir, name)
	}
	return path.Join(cluster.DisksDir, name)
}

// available waits until a path has an Available PersistentVolume, and one with
// another UID than the given one.
func (e *env) available(node, path string, not types.UID) *corev1.PersistentVolume {
	e.Helper()
	return e.await(node, path, "Available", func(pv *corev1.PersistentVolume) bool {
		return pv.UID != not && pv.Status.Phase == corev1.VolumeAvailable && pv.DeletionTimestamp == nil
	})
}

// await waits until the PersistentVolume of a path is as it should be.
func (e *env) await(node, path, what string, ok func(*corev1.PersistentVolume) bool) (found *corev1.PersistentVolume) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	e.must(e.pvs.Wait(ctx, fmt.Sprintf("the volume of %s:%s to be %s", node, path, what), func(all []*corev1.PersistentVolume) error {
		found = pvwatch.Find(all, node, path)
		switch {
		case found == nil:
			return errors.New("it has no PersistentVolume")
		case !ok(found):
			return fmt.Errorf("%s (UID %s) is %s", found.Name, found.UID, found.Status.Phase)
		}
		return nil
	}))
	return found
}

// absent waits until a path has no PersistentVolume.
func (e *env) absent(node, path string) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	e.must(e.pvs.Wait(ctx, "the volume of "+path+" to be withdrawn", func(all []*corev1.PersistentVolume) error {
		if pv := pvwatch.Find(all, node, path); pv != nil {
			return fmt.Errorf("%s is %s", pv.Name, pv.Status.Phase)
		}
		return nil
	}))
}

// event waits for an event about an object that mentions a text.
func (e *env) event(since time.Time, kind, name, reason, text string) {
	e.Helper()
	e.until(fmt.Sprintf("an event %s about %s %s that mentions %q", reason, kind, name, text), func(ctx context.Context) error {
		events, err := e.c.Client().CoreV1().Events("").List(ctx, metav1.ListOptions{
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

func (e *env) until(what string, done func(context.Context) error) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	e.must(workload.Until(ctx, what, done))
}

// runPod runs a script to its end, with claims that it makes, and returns what
// it printed. The pod is deleted; the claims stay.
func (e *env) runPod(p workload.Pod) string {
	e.Helper()
	e.must(e.space.Create(e.ctx, p))
	return e.finishPod(p.Name)
}

func (e *env) finishPod(name string) string {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	log, err := e.space.WaitDone(ctx, name)
	e.must(err)
	e.must(e.space.DeletePod(ctx, name))
	return strings.TrimSpace(log)
}

// nothingLeft claims a volume for a new pod, which must find nothing in it, and
// gives it back.
func (e *env) nothingLeft(pv *corev1.PersistentVolume) {
	e.Helper()
	c := workload.Claim{Name: "reader", Class: pv.Spec.StorageClassName, PV: pv.Name}
	script := "find /reader -mindepth 1 ! -path /reader/lost+found | head"
	if *pv.Spec.VolumeMode == corev1.PersistentVolumeBlock {
		c.Block, script = true, `tr -d '\0' </dev/reader | head -c 100`
	}
	if found := e.runPod(workload.Pod{Name: "reader", Script: script, Claims: []workload.Claim{c}}); found != "" {
		e.Errorf("a new pod found in %s: %q", pv.Name, found)
	}
	e.must(e.space.Empty(e.ctx))
	e.available(pvwatch.Node(pv), pv.Spec.Local.Path, pv.UID)
}
