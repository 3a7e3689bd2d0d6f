//go:build cluster

package berthtest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/pvwatch"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// noRoom is what the scheduler says of nodes whose capacity is too small.
const noRoom = "did not have enough free storage"

// TestClusterCarvedFull asks two nodes for half as much again as both have: what
// fits runs, the rest waits with the reason, and never is more promised than there
// is. That a full node sends the next pod to another one is shown by the demo.
func TestClusterCarvedFull(t *testing.T) {
	e := beginCarved(t)
	const room, pods = 20, 30
	each := min(e.before["node-1"].free, e.before["node-2"].free) / (room / 2) / mib * mib
	for node, r := range e.before {
		if r.free/each != room/2 || r.largest < each {
			t.Fatalf("%s has room for %d of %d bytes: %v", node, r.free/each, each, r)
		}
	}
	begun := time.Now()
	for i := range pods {
		name := fmt.Sprintf("storm-%02d", i)
		e.Must(e.Space.Create(e.Ctx, workload.Pod{Name: name, Script: stay, Claims: []workload.Claim{{Name: name, Class: cluster.PoolClass, Bytes: each}}}))
	}
	var running []string
	settled := func(want int) func(context.Context) error {
		return func(ctx context.Context) error {
			list, err := e.C.Client().CoreV1().Pods(e.Space.Name).List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			running = nil
			waits, other := 0, ""
			for _, p := range list.Items {
				switch {
				case p.Status.Phase == corev1.PodRunning:
					running = append(running, p.Name)
				case p.Spec.NodeName == "" && strings.Contains(workload.Describe(&p), noRoom):
					waits++
				default:
					other = p.Name + " is " + workload.Describe(&p)
				}
			}
			if len(running) != room || waits != want {
				return fmt.Errorf("%d run, %d wait for room; %s", len(running), waits, other)
			}
			return nil
		}
	}
	e.Until("20 pods to run and 10 to wait for room", settled(pods-room))
	t.Logf("settled %.1f s after the first pod was made", time.Since(begun).Seconds())
	e.promisedOnce(begun)

	// What one gives up another gets.
	e.Must(e.Space.Drop(e.Ctx, workload.Pod{Name: running[0], Claims: []workload.Claim{{Name: running[0]}}}))
	e.Until("a pod that waited to run", settled(pods-room-1))
	e.promisedOnce(begun)
}

// promisedOnce fails the test if the volumes that claims of a node had were at any
// time since then larger than its room before the test. A released one does not
// count: it is out of the pool before its PersistentVolume goes.
func (e *carvedEnv) promisedOnce(since time.Time) {
	e.Helper()
	sizes := map[string]map[string]int64{"node-1": {}, "node-2": {}}
	e.PVs.First(since, func(s pvwatch.Seen) bool {
		node := pvwatch.Node(s.PV)
		if s.PV.Spec.CSI == nil || s.PV.Spec.CSI.Driver != api.Driver {
			return false
		}
		sizes[node][s.PV.Name] = s.PV.Spec.Capacity.Storage().Value()
		if s.Gone || s.PV.Status.Phase == corev1.VolumeReleased {
			delete(sizes[node], s.PV.Name)
		}
		sum := int64(0)
		for _, bytes := range sizes[node] {
			sum += bytes
		}
		if sum > e.before[node].free {
			e.Errorf("%d volumes on %s are of %d bytes, which has %d", len(sizes[node]), node, sum, e.before[node].free)
		}
		return sum > e.before[node].free
	})
}
