package host

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// priority is what the kernel has noted for the thread.
func priority(t *testing.T) IOPriority {
	t.Helper()
	p, _, err := unix.Syscall(unix.SYS_IOPRIO_GET, whoProcess, 0, 0)
	if err != 0 {
		t.Fatal(err)
	}
	return IOPriority(p)
}

// TestAtIOPriority: the priority is there within, and what was there before
// comes back, also one within another and when the work fails.
func TestAtIOPriority(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := priority(t)
	failed := errors.New("failed")
	err := AtIOPriority(IdlePriority, func() error {
		if p := priority(t); p != IdlePriority {
			t.Errorf("within, it is %#x", p)
		}
		if err := AtIOPriority(LowPriority, func() error {
			if p := priority(t); p != LowPriority {
				t.Errorf("within both, it is %#x", p)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		if p := priority(t); p != IdlePriority {
			t.Errorf("within again, it is %#x", p)
		}
		return failed
	})
	if p := priority(t); err != failed || p != before {
		t.Errorf("after, it is %#x with error %v; want %#x", p, err, before)
	}
}
