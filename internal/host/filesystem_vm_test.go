//go:build vm

package host_test

import (
	"os/exec"
	"testing"
)

// TestVMGrow: what a container may not do.
func TestVMGrow(t *testing.T) {
	if out, err := exec.Command("modprobe", "-a", "loop", "ext4").CombinedOutput(); err != nil { // the machine has no daemon that does
		t.Fatalf("%v: %s", err, out)
	}
	d, at := made(t, "ext4")
	d.grows(at, "ext4")
}
