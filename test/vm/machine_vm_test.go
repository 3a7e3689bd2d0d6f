//go:build vm

package vm

import (
	"testing"
	"time"
)

func TestBoot(t *testing.T) {
	start := time.Now()
	m, err := Boot(t.Context(), Options{Disks: []Disk{{Serial: "ONE", Bytes: 64 << 20}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("booted %v", time.Since(start))
	defer m.Close()
	out, err := m.Output(t.Context(), "sh", "-c", "ls -l /dev/disk/by-id; uname -a; cat /sys/block/nvme*/wwid")
	t.Log(out, err)
}
