//go:build vm

package vm_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/test/vm"
)

// inside are what this binary does instead of testing, by name: in the machine,
// where not said otherwise.
var inside = map[string]func(args []string) error{
	"life": life, "wipe": wipeOnce, "know": know,
	"hold": hold, // on the host
}

func TestMain(m *testing.M) {
	if os.Getpid() != 1 && len(os.Args) > 1 {
		if do := inside[os.Args[1]]; do != nil {
			if err := do(os.Args[2:]); err != nil {
				fmt.Println("error:", err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

const mib = 1 << 20

// boot starts a machine that has this binary, and closes it after the test.
func boot(t *testing.T, disks ...vm.Disk) *vm.Machine {
	t.Helper()
	before := held(t)
	m, err := vm.Boot(t.Context(), vm.Options{Disks: disks, Files: map[string]string{"test": "/proc/self/exe"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if after := held(t); len(after) > len(before) {
			t.Errorf("a closed machine has left open files: %q", after)
		}
	})
	return m
}

// held lists this process's open files that have no name, as a machine's have
// none.
func held(t *testing.T) (files []string) {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		target, _ := os.Readlink("/proc/self/fd/" + n.Name())
		if strings.HasPrefix(target, "socket:") || strings.HasSuffix(target, " (deleted)") {
			files = append(files, target)
		}
	}
	return files
}

// lines is what a command in the machine prints, as far as it has come.
type lines struct {
	in  chan string
	end chan error // gets how the command ended; in has all by then
}

// writer passes on whole lines and never waits.
type writer struct {
	out     chan string
	partial bytes.Buffer
}

func (w *writer) Write(p []byte) (int, error) {
	w.partial.Write(p)
	for {
		line, rest, whole := strings.Cut(w.partial.String(), "\n")
		if !whole {
			return len(p), nil
		}
		w.out <- line
		w.partial.Reset()
		w.partial.WriteString(rest)
	}
}

// maxLines is more than any of the commands prints.
const maxLines = 1 << 17

// start starts one of the functions in inside.
func start(ctx context.Context, m *vm.Machine, args ...string) lines {
	l := lines{make(chan string, maxLines), make(chan error, 1)}
	w := &writer{out: l.in}
	go func() {
		status, err := m.Run(ctx, vm.Command{Args: append([]string{"/host/test"}, args...), Stdout: w, Stderr: w})
		if err == nil && status != 0 {
			err = fmt.Errorf("%s: exit status %d", args[0], status)
		}
		l.end <- err
		close(l.in)
	}()
	return l
}

// all waits for the end and returns everything.
func all(t *testing.T, m *vm.Machine, args ...string) []string {
	t.Helper()
	l := start(t.Context(), m, args...)
	var out []string
	for line := range l.in {
		out = append(out, line)
	}
	if err := <-l.end; err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(out, "\n"))
	}
	return out
}

// device finds a disk in the machine by its serial number, as it is now called.
func device(serial string) (path string, b disk.Block, err error) {
	sys := os.DirFS("/")
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		return "", b, err
	}
	for _, e := range entries {
		path := "/dev/" + e.Name()
		major, minor, err := disk.DeviceOf(path)
		if err != nil {
			continue // it is coming or going
		}
		if b, err = disk.ReadBlock(sys, major, minor); err == nil && b.Serial == serial {
			return path, b, nil
		}
	}
	return "", b, fmt.Errorf("no disk %s", serial)
}

// left counts the bytes of a device that are not zero, past the page cache.
func left(path string) (n int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0); err != nil {
		return 0, err
	}
	zeroes, buf := make([]byte, mib), make([]byte, mib)
	for r := bufio.NewReaderSize(f, mib); ; {
		got, err := r.Read(buf)
		if got == 0 {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if !bytes.Equal(buf[:got], zeroes[:got]) {
			n += int64(got - bytes.Count(buf[:got], []byte{0}))
		}
	}
}
