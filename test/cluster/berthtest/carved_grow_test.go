//go:build cluster

package berthtest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// TestClusterCarvedGrows grows volumes under a running pod, refuses one that would
// be too large, with the reason on its claim, and takes the smaller wish after it.
func TestClusterCarvedGrows(t *testing.T) {
	e := beginCarved(t)
	p := workload.Pod{
		Name: "grower",
		Claims: []workload.Claim{
			{Name: "data", Class: cluster.PoolClass, Bytes: 32 * mib},
			{Name: "raw", Class: cluster.PoolClass, Bytes: 32 * mib, Block: true},
		},
		Script: fmt.Sprintf(`try() { rm -f /data/full; sync -f /data; dd if=/dev/zero of=/data/full bs=1M count=$1 conv=fsync 2>/dev/null; }
if try 48; then echo wrote too much; exit 1; fi
head -c %d /dev/urandom >/dev/raw; sync; echo begun
until [ $(blockdev --getsize64 /dev/raw) = %d ]; do sleep 0.1; done
echo added $(tail -c +%d /dev/raw | tr -d '\0' | wc -c)
until try 48; do sleep 0.1; done; echo grown
until try 80; do sleep 0.1; done; echo again`, 32*mib, 64*mib, 32*mib+1) + stay,
	}
	e.Must(e.Space.Create(e.Ctx, p))
	e.said(p.Name, "begun")
	before, err := e.Space.Placement(e.Ctx, p.Name)
	e.Must(err)
	for _, c := range p.Claims {
		e.ask(c.Name, 64*mib)
	}
	for _, c := range p.Claims {
		e.has(c.Name, 64*mib)
	}
	if got := e.said(p.Name, "added"); got != "0" {
		t.Errorf("the added part of a device has %s bytes that are not zero", got)
	}
	e.said(p.Name, "grown")

	e.promised(before.Node, 128*mib)
	begun := time.Now()
	e.ask("data", e.before[before.Node].free)
	c := e.claimed("data", "to be told that there is no room", func(c *corev1.PersistentVolumeClaim) bool {
		return slices.ContainsFunc(c.Status.Conditions, func(c corev1.PersistentVolumeClaimCondition) bool {
			return c.Type == corev1.PersistentVolumeClaimControllerResizeError && c.Status == corev1.ConditionTrue
		})
	})
	if got := c.Status.AllocatedResourceStatuses[corev1.ResourceStorage]; got != corev1.PersistentVolumeClaimControllerResizeInfeasible {
		t.Errorf("its stage is %q", got)
	}
	e.Event(begun, "PersistentVolumeClaim", "data", api.ReasonNoRoom, "ask for less")
	e.promised(before.Node, 128*mib)
	e.ask("data", 96*mib)
	e.has("data", 96*mib)
	e.promised(before.Node, 160*mib)
	e.said(p.Name, "again")
	if now, err := e.Space.Placement(e.Ctx, p.Name); err != nil || now.UID != before.UID {
		t.Errorf("the pod is another one: %v (%v)", now, err)
	}
}

// resizing are the conditions that are about growth.
var resizing = map[corev1.PersistentVolumeClaimConditionType]bool{
	corev1.PersistentVolumeClaimResizing: true, corev1.PersistentVolumeClaimFileSystemResizePending: true,
	corev1.PersistentVolumeClaimControllerResizeError: true, corev1.PersistentVolumeClaimNodeResizeError: true,
}

// ask has a claim ask for another size.
func (e *carvedEnv) ask(claim string, bytes int64) {
	e.Helper()
	_, err := e.C.Client().CoreV1().PersistentVolumeClaims(e.Space.Name).Patch(e.Ctx, claim, types.MergePatchType,
		fmt.Appendf(nil, `{"spec":{"resources":{"requests":{"storage":"%d"}}}}`, bytes), metav1.PatchOptions{})
	e.Must(err)
}

// has waits until a claim has a size and nothing is said of its growth any more,
// and its volume has that size, too. Kubernetes has other things to say of a claim,
// as that a pod uses it.
func (e *carvedEnv) has(claim string, bytes int64) {
	e.Helper()
	c := e.claimed(claim, fmt.Sprintf("to have %d bytes", bytes), func(c *corev1.PersistentVolumeClaim) bool {
		return c.Status.Capacity.Storage().Value() == bytes && len(c.Status.AllocatedResourceStatuses) == 0 &&
			!slices.ContainsFunc(c.Status.Conditions, func(c corev1.PersistentVolumeClaimCondition) bool { return resizing[c.Type] })
	})
	e.pv(c.Spec.VolumeName, "as large", func(pv *corev1.PersistentVolume) bool { return pv.Spec.Capacity.Storage().Value() == bytes })
}
