package agent

import "github.com/berth-storage/berth/internal/disk"

// Disk implements machine.
func (localMachine) Disk(e entry) string {
	major, minor := e.Major, e.Minor
	if e.Kind == kindMount {
		major, minor = e.Mount.Major, e.Mount.Minor
	}
	if e.Kind == kindMount && e.Mount.FSType == "btrfs" { // whose numbers are no device's
		if ma, mi, err := disk.DeviceOf(e.Mount.Source); err == nil {
			major, minor = ma, mi
		}
	}
	return disk.WholeDisk(sys, major, minor)
}
