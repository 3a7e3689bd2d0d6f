package host

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shell is a command that runs a script and notes the lines it prints.
func shell(script string, got *[]string) Command {
	return Command{Args: []string{"/bin/sh", "-c", script}, Output: func(line string) { *got = append(*got, line) }}
}

func TestCommandSucceeds(t *testing.T) {
	t.Setenv("BERTH_TEST_KEPT", "kept")
	t.Setenv("BERTH_TEST_SET", "old")
	var got []string
	c := shell(`echo "$BERTH_TEST_KEPT"; echo "$BERTH_TEST_SET" >&2; printf '10%%\r20%%\r\n\nno newline'`, &got)
	c.Env = []string{"BERTH_TEST_SET=new"}
	c.Timeout = time.Hour
	if err := c.Run(t.Context()); err != nil {
		t.Error(err)
	}
	if want := []string{"kept", "new", "10%", "20%", "no newline"}; !slices.Equal(got, want) {
		t.Errorf("lines are %q, want %q", got, want)
	}
}

func TestCommandFails(t *testing.T) {
	var got []string
	err := shell("for i in 1 2 3 4 5 6 7; do echo line $i; done; exit 3", &got).Run(t.Context())
	var status *exec.ExitError
	if !errors.As(err, &status) || status.ExitCode() != 3 || len(got) != 7 {
		t.Fatalf("error: %v after %q", err, got)
	}
	for _, want := range []string{"/bin/sh", "exit status 3", "line 3 | line 4 | line 5 | line 6 | line 7"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error: %v; want %q in it", err, want)
		}
	}
	if err := (Command{Args: []string{"/bin/sh", "-c", "kill -9 $$"}}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "signal: killed, without output") {
		t.Errorf("error: %v", err)
	}
}

// TestCommandMissing: what is wrong with a program that cannot be started is said.
func TestCommandMissing(t *testing.T) {
	dir := t.TempDir()
	script, plain := filepath.Join(dir, "script"), filepath.Join(dir, "plain")
	if err := errors.Join(os.WriteFile(script, []byte("#!/no/such/shell\n"), 0o700), os.WriteFile(plain, []byte("echo\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]string{
		filepath.Join(dir, "none"): "is not here",
		script:                     "interpreter",
		plain:                      "permission denied",
		"":                         "no command",
	} {
		if err := (Command{Args: []string{program}}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", program, err, want)
		}
	}
	if err := (Command{}).Run(t.Context()); err == nil {
		t.Error("nothing was run")
	}
}

func TestCommandTimeout(t *testing.T) {
	c := Command{Args: []string{"/bin/sleep", "1000"}, Timeout: time.Millisecond}
	if err := c.Run(t.Context()); !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "1ms") {
		t.Errorf("error: %v, want ErrTimeout and the time", err)
	}
}

func TestCommandCancelledBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	mark := filepath.Join(t.TempDir(), "mark")
	err := Command{Args: []string{"/bin/sh", "-c", `: > "$0"`, mark}}.Run(ctx)
	if _, missing := os.Stat(mark); !errors.Is(err, context.Canceled) || missing == nil {
		t.Errorf("error: %v, and it ran: %v", err, missing == nil)
	}
}

// TestCommandLeavesNothing: what a command has started ends with it, however it
// ends.
func TestCommandLeavesNothing(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		cancel bool
		want   error
	}{
		"cancelled":                      {"sleep 1000 & echo $!; wait", true, context.Canceled},
		"cancelled, and it ignores that": {"trap '' TERM INT HUP; (trap '' TERM; sleep 1000) & echo $!; wait", true, context.Canceled},
		"ended":                          {"sleep 1000 & echo $!", false, nil},
		"ended, output closed":           {"sleep 1000 >/dev/null 2>&1 & echo $!", false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			child := -1
			c := Command{Args: []string{"/bin/sh", "-c", test.script}, Output: func(line string) {
				pid, err := strconv.Atoi(line)
				if err == nil {
					child, err = unix.PidfdOpen(pid, 0)
				}
				if err != nil && test.cancel {
					t.Errorf("following %q: %v", line, err)
				}
				if test.cancel {
					cancel()
				}
			}}
			if err := c.Run(ctx); !errors.Is(err, test.want) {
				t.Errorf("error: %v, want %v", err, test.want)
			}
			if child < 0 {
				return // it was gone before it could be followed
			}
			defer unix.Close(child)
			if n, err := unix.Poll([]unix.PollFd{{Fd: int32(child), Events: unix.POLLIN}}, 30_000); n != 1 {
				t.Errorf("a process that it started still runs: %v", err)
			}
		})
	}
}

func TestCommandHugeOutput(t *testing.T) {
	var got []string
	if err := shell(`head -c 50000000 /dev/zero | tr '\0' x; echo; echo end`, &got).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0] != strings.Repeat("x", lineBytes)+" …" || got[1] != "end" {
		t.Errorf("%d lines, the first of %d bytes", len(got), len(got[0]))
	}
	count, c := 0, Command{Args: []string{"/bin/sh", "-c", "yes | head -n 500000; exit 1"}}
	c.Output = func(string) { count++ }
	if err := c.Run(t.Context()); err == nil || count != 500000 || !strings.HasSuffix(err.Error(), ": y | y | y | y | y") {
		t.Errorf("%d lines, error: %v", count, err)
	}
}

// TestLines: it does not matter where the pieces of an output end.
func TestLines(t *testing.T) {
	const text = "one\r\ntwo\xff\n\n  three \n" + "four"
	for size := 1; size <= len(text); size++ {
		var got []string
		l := &lines{each: func(line string) { got = append(got, line) }}
		for rest := []byte(text); len(rest) > 0; {
			n, err := l.Write(rest[:min(size, len(rest))])
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		l.close()
		if want := []string{"one", "two\uFFFD", "three", "four"}; !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: %q, want %q", size, got, want)
		}
	}
}
