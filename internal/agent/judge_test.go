package agent

import (
	"testing"
	"testing/synctest"
)

// TestTenantsMarkGoes: a tenant that makes its device a part of something, as of
// a volume group, loses it in the wipe like all else, and the device is
// published again at once. Before a claim had it, the same mark is somebody
// else's: it is withdrawn.
func TestTenantsMarkGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "wwid:1", device: true}})
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		w.claimAll(t, "tenant")
		w.do(func() { w.disks["a"].refused = "verdict Foreign" })
		a.trigger(true)
		settle()
		wantNames(t, w, "a Bound")
		w.releaseAll()
		settle()
		wantNames(t, w, "a Available")
		wantSays(t, a, 0)

		w.do(func() { w.disks["a"].refused = "verdict Foreign" })
		a.trigger(true)
		settle()
		wantNames(t, w)
		wantSays(t, a, 1, "EntryRefused", "verdict Foreign")
	})
}
