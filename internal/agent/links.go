package agent

import "time"

// linkDelays are how long after a device's event the entries are looked at
// again. The kernel tells of a device before udev has made the links to it, and
// udev's own events do not reach other network namespaces; it needs a moment,
// and on a busy machine more.
var linkDelays = [...]time.Duration{time.Second, 10 * time.Second}

// linkScans are scans to come. They belong to the goroutine that is told of
// devices.
type linkScans [len(linkDelays)]*time.Timer

// expectLinks asks for scans after the last of the devices' events.
func (a *Agent) expectLinks() {
	for i, delay := range linkDelays {
		if a.links[i] == nil {
			a.links[i] = time.AfterFunc(delay, func() { a.trigger(false) })
			continue
		}
		a.links[i].Reset(delay)
	}
}
