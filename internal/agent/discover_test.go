package agent

import (
	"slices"
	"testing"
	"testing/synctest"
)

// scans counts the scans so far.
func (w *world) scans() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, step := range w.trail {
		if step == "scan" {
			n++
		}
	}
	return n
}

// TestDevicesChanged: what the kernel says of block devices makes the agent look
// where a device may be, and costs nothing where there are mounts alone.
func TestDevicesChanged(t *testing.T) {
	for _, device := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
			if device {
				w.disks["dev"] = &fakeDisk{identity: "wwid:2", device: true}
			}
			a, stop := w.start(t, 0, false)
			defer stop()
			settle()
			before := w.scans()
			w.do(func() { w.disks["later"] = &fakeDisk{identity: "wwid:3", device: true} })
			a.devicesChanged()
			synctest.Wait()
			if scanned := w.scans() > before; scanned != device {
				t.Errorf("with a device %v: scanned %v", device, scanned)
			}
			settle()
			if found := slices.Contains(w.names(), "later Available"); found != device {
				t.Errorf("with a device %v: the new one was found: %v", device, found)
			}
		})
	}
}
