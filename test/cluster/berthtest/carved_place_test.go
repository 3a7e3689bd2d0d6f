//go:build cluster

package berthtest

import (
	"testing"
	"time"

	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// TestClusterCarvedImmediate: claims of a class with volumeBindingMode Immediate are
// bound without a pod, each on the node with most room, and one for which no node
// has room is told so, and bound once there is.
func TestClusterCarvedImmediate(t *testing.T) {
	e := beginCarved(t)
	const class = "carved-immediate"
	mode := storagev1.VolumeBindingImmediate
	e.class(class, func(c *storagev1.StorageClass) { c.VolumeBindingMode = &mode })
	claim := func(name string, bytes int64) string {
		e.Must(e.Space.CreateClaims(e.Ctx, workload.Claim{Name: name, Class: class, Bytes: bytes}))
		return e.bound(name)
	}
	// More than half a node, so that the room tells the nodes apart from here on.
	most := max(e.before["node-1"].free, e.before["node-2"].free) * 3 / 4 / mib * mib
	first := claim("first", most)
	e.promised(first, most)
	second := claim("second", 64*mib)
	if first == second {
		t.Errorf("of two claims both are on %s, where the first has taken most of the room", first)
	}
	e.promised(second, 64*mib)
	begun := time.Now()
	e.Must(e.Space.CreateClaims(e.Ctx, workload.Claim{Name: "large", Class: class, Bytes: (e.before[second].largest - 32*mib) / mib * mib}))
	e.Event(begun, "PersistentVolumeClaim", "large", api.ReasonNoRoom, "")
	e.Must(e.Space.DropClaim(e.Ctx, "first"))
	if node := e.bound("large"); node != first {
		t.Errorf("room became free on %s, and a claim that waited for it was bound on %s", first, node)
	}
}
