package host

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// An IOPriority is what the disk's scheduler goes by when several want the
// disk: a class in the upper three of 16 bits, a level from 0, the highest, to
// 7 below. See ioprio_set(2).
type IOPriority int

const (
	// IdlePriority lets everybody else's requests go first. It is for work that
	// holds no lock which others wait for, as on a whole device. It does not wait
	// for ever: of the schedulers that know it, BFQ serves the class every 200 ms
	// (BFQ_CL_IDLE_TIMEOUT, block/bfq-wf2q.c), and mq-deadline what has waited
	// for 10 seconds (prio_aging_expire, block/mq-deadline.c, Linux 5.18).
	IdlePriority IOPriority = 3 << 13
	// LowPriority is the lowest that takes part in the sharing of the disk. It is
	// for work in a filesystem, whose journal others may wait for: volumes can
	// be directories of one filesystem, and idle requests would hold up them all.
	LowPriority IOPriority = 2<<13 | 7
)

// whoProcess is IOPRIO_WHO_PROCESS of include/uapi/linux/ioprio.h, which stands
// for one thread.
const whoProcess = 1

// AtIOPriority calls do on a thread with this IO priority, which the commands
// that do starts inherit, but not the goroutines. A kernel without priorities
// is no error: do is called all the same, as the priority is a favour to others.
func AtIOPriority(p IOPriority, do func() error) error {
	runtime.LockOSThread()
	before, _, err := unix.Syscall(unix.SYS_IOPRIO_GET, whoProcess, 0, 0)
	if err == 0 {
		_, _, err = unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, 0, uintptr(p))
	}
	if err != 0 {
		runtime.UnlockOSThread()
		return do()
	}
	defer func() {
		// A thread that keeps the priority is not given to other goroutines: it
		// ends with this one.
		if _, _, err := unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, 0, before); err == 0 {
			runtime.UnlockOSThread()
		}
	}()
	return do()
}
