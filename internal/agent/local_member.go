package agent

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/inventory"
)

// refusedMember says why a device that nothing uses is not free by its own
// bytes, "" when it is. In a class that keeps its data they may say anything:
// nothing is written over them.
func refusedMember(c config.Class, e entry, b disk.Block) string {
	member, err := memberOf(filepath.Join(c.MountDir, e.Name), e, b.SizeBytes)
	if err != nil { // not an error: a device that cannot be read can be released
		return fmt.Sprintf("cannot be published, verdict %s: what is on it cannot be read: %v", inventory.Unknown, err)
	}
	if j := inventory.Classify(b, inventory.Use{Member: member}); j.Verdict != inventory.Free && !(j.Verdict == inventory.Foreign && (c.Shared || c.ReadOnly)) {
		return fmt.Sprintf("cannot be published, verdict %s: %s", j.Verdict, j.Evidence)
	}
	return ""
}

func memberOf(path string, e entry, size int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	major, minor, err := disk.DeviceOfFD(int(f.Fd()))
	if err == nil && (major != e.Major || minor != e.Minor) {
		err = fmt.Errorf("it is device %d:%d now, not %d:%d", major, minor, e.Major, e.Minor)
	}
	if err != nil {
		return "", err
	}
	return disk.ReadMember(f, size)
}
