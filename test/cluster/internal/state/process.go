package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process names one process for good: a number is reused, a number with its
// start time is not.
type Process struct {
	PID   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"` // clock ticks since the machine's start, from /proc/PID/stat
}

// Identify is the Process that now has the number pid.
func Identify(pid int) (Process, error) {
	start, _, err := stat(pid)
	if err != nil {
		return Process{}, fmt.Errorf("identifying process %d: %w", pid, err)
	}
	return Process{PID: pid, Start: start}, nil
}

// Alive says whether the process still runs. A zombie does not.
func (p Process) Alive() bool {
	if p.PID == 0 {
		return false
	}
	start, status, err := stat(p.PID)
	return err == nil && start == p.Start && status != 'Z' && status != 'X'
}

// Kill ends the process, if it is still the same one, and waits until it is
// gone. The first process of a PID namespace is gone only when all others in
// it are.
func (p Process) Kill(patience time.Duration) error {
	if !p.Alive() {
		return nil
	}
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("killing process %d: %w", p.PID, err)
	}
	deadline := time.Now().Add(patience)
	for p.Alive() {
		if time.Now().After(deadline) {
			return fmt.Errorf("killing process %d: still there after %s", p.PID, patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// stat reads the start time and the status letter of a process.
func stat(pid int) (start uint64, status byte, err error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		if errors.Is(err, syscall.ESRCH) {
			err = fs.ErrNotExist
		}
		return 0, 0, err
	}
	// The name, in brackets, may hold anything; all that counts is behind it.
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return 0, 0, errors.New("no name in its stat file")
	}
	fields := strings.Fields(string(data[end+1:]))
	const startField = 19 // field 22 of the line, counted from the status, field 3
	if len(fields) <= startField {
		return 0, 0, errors.New("its stat file is too short")
	}
	start, err = strconv.ParseUint(fields[startField], 10, 64)
	return start, fields[0][0], err
}
