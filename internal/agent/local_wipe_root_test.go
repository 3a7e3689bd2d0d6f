//go:build root

package agent

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/host/hosttest"
	"github.com/berth-storage/berth/internal/wipe"
)

// dirtyDevice is a class with a device that a tenant had.
func dirtyDevice(t *testing.T) (class config.Class, job wipeJob, device string) {
	t.Helper()
	device = hosttest.NewLoop(t, 64<<20)
	if err := os.WriteFile(device, bytes.Repeat([]byte("secret--"), 64<<17), 0o600); err != nil {
		t.Fatal(err)
	}
	class = deviceClass(t, device)
	e, d, _ := scanOne(t, class)
	return class, wipeJob{Entry: e, Identity: d.Identity, Reached: func(int64) error { return nil }}, device
}

func contents(t *testing.T, device string) []byte {
	t.Helper()
	data, err := os.ReadFile(device)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRootWipeMethods: each native way does what it says, under the word that
// the metrics have for it.
func TestRootWipeMethods(t *testing.T) {
	const size = 64 << 20
	for _, test := range []struct {
		wipe  config.Wipe
		words []string
		bytes int64
	}{
		{config.DefaultWipe, []string{"discard", "zero"}, size},
		{config.Wipe{Method: config.WipeZero, Passes: 2}, []string{"zero"}, 2 * size},
		{config.Wipe{Method: config.WipeShred, Passes: 2}, []string{"shred"}, 3 * size},
		{config.Wipe{Method: config.WipeSignatures, Passes: 1}, []string{"signatures"}, 32 << 20},
	} {
		t.Run(string(test.wipe.Method), func(t *testing.T) {
			class, job, device := dirtyDevice(t)
			class.Wipe = test.wipe
			var reached int64
			job.Reached = func(off int64) error { reached = off; return nil }
			r, err := localMachine{}.Wipe(t.Context(), class, job)
			if err != nil || !slices.Contains(test.words, r.Method) || r.Bytes != test.bytes || reached < size {
				t.Errorf("it gave %+v, %v, and reached %d", r, err, reached)
			}
			if data := contents(t, device); bytes.Contains(data[:16<<20], []byte("secret")) || bytes.Contains(data[48<<20:], []byte("secret")) {
				t.Error("the tenant's bytes are still there")
			}
			job.Offset = reached
			if r, err := (localMachine{}).Wipe(t.Context(), class, job); err != nil || test.wipe.Method != config.WipeSignatures && r.Bytes != 0 {
				t.Errorf("going on from the end gave %+v, %v", r, err)
			}
			job.Entry.SizeBytes-- // the device has grown since
			if r, err := (localMachine{}).Wipe(t.Context(), class, job); err != nil || r.Bytes != test.bytes {
				t.Errorf("going on with another size gave %+v, %v", r, err)
			}
		})
	}
	class, job, _ := dirtyDevice(t)
	class.Wipe.Method = "Burn"
	if _, err := (localMachine{}).Wipe(t.Context(), class, job); err == nil {
		t.Error("an unknown method is obeyed")
	}
}

// TestRootWipeVerifyAndRate: a class's wish for a full reading back and for a
// rate reaches the wipe.
func TestRootWipeVerifyAndRate(t *testing.T) {
	const size = int64(1100) << 20 // more than is read back in samples
	class := deviceClass(t, hosttest.NewLoop(t, size))
	e, d, _ := scanOne(t, class)
	job := wipeJob{Entry: e, Identity: d.Identity, Reached: func(int64) error { return nil }}
	for verify, want := range map[config.WipeVerify]int64{"": 1 << 30, config.VerifyFull: size} {
		class.Wipe = config.DefaultWipe
		class.Wipe.Verify = verify
		job.Progress = new(wipe.Progress)
		if _, err := (localMachine{}).Wipe(t.Context(), class, job); err != nil {
			t.Fatal(err)
		}
		if s := job.Progress.Now(); s.Phase != wipe.PhaseVerify || s.Done != want {
			t.Errorf("verify %q: %+v, want %d bytes read back", verify, s, want)
		}
	}
	// One that has begun to read all back, and then is to read samples.
	job.Offset, class.Wipe.Verify = size+(256<<20), config.VerifySampled
	if _, err := (localMachine{}).Wipe(t.Context(), class, job); err != nil {
		t.Error(err)
	}
	class.Wipe = config.Wipe{Method: config.WipeZero, Passes: 1, BytesPerSecond: 1 << 20}
	job.Offset = 0
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := (localMachine{}).Wipe(ctx, class, job); err == nil || job.Progress.Now().Done > 8<<20 {
		t.Errorf("at 1 MiB a second it gave %v, at %+v", err, job.Progress.Now())
	}
}

// TestRootWipeCommand: the command finds the device by its name in the
// discovery directory, and what it says is what counts.
func TestRootWipeCommand(t *testing.T) {
	class, job, device := dirtyDevice(t)
	path := filepath.Join(class.MountDir, "dev")
	var lines []string
	job.Output = func(line string) { lines = append(lines, line) }
	class.Wipe = config.Wipe{Method: config.WipeCommand, Timeout: time.Hour, Command: []string{"/bin/sh", "-c",
		`echo "$LOCAL_PV_BLKDEVICE $BERTH_IDENTITY"; ionice; dd if=/dev/zero of="$LOCAL_PV_BLKDEVICE" bs=1M count=64 status=none`}}
	r, err := localMachine{}.Wipe(t.Context(), class, job)
	if err != nil || r != (wipeResult{Method: "command"}) {
		t.Errorf("the command gave %+v, %v", r, err)
	}
	if want := []string{path + " " + string(job.Identity), "idle"}; !slices.Equal(lines, want) {
		t.Errorf("lines are %q, want %q", lines, want)
	}
	if !bytes.Equal(contents(t, device), make([]byte, 64<<20)) {
		t.Error("the device is not zero")
	}

	class.Wipe.Command = []string{"/bin/sh", "-c", "echo no such luck; exit 7"}
	if _, err := (localMachine{}).Wipe(t.Context(), class, job); err == nil || !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("a command that fails gave %v", err)
	}
	class.Wipe.Command, class.Wipe.Timeout = []string{"/bin/sleep", "1000"}, time.Millisecond
	if _, err := (localMachine{}).Wipe(t.Context(), class, job); !errors.Is(err, host.ErrTimeout) {
		t.Errorf("a command that does not end gave %v", err)
	}
}

// TestRootWipeCommandRefused: a command is not started on another device or on
// one that is in use, and a device that was exchanged under it was not wiped.
func TestRootWipeCommandRefused(t *testing.T) {
	class, job, device := dirtyDevice(t)
	path := filepath.Join(class.MountDir, "dev")
	class.Wipe = config.Wipe{Method: config.WipeCommand, Command: []string{"/bin/sh", "-c", `echo x > "$LOCAL_PV_BLKDEVICE"`}}
	whole := func() {
		t.Helper()
		if !bytes.HasPrefix(contents(t, device), []byte("secret")) {
			t.Fatal("the command was run")
		}
	}
	other := job
	other.Identity = disk.ID("wwid:another")
	if _, err := (localMachine{}).Wipe(t.Context(), class, other); err == nil || !strings.Contains(err.Error(), "nothing was written") {
		t.Errorf("another identity gave %v", err)
	}
	whole()
	b, err := host.OpenBlock(device, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (localMachine{}).Wipe(t.Context(), class, job); !errors.Is(err, host.ErrBusy) {
		t.Errorf("a device in use gave %v", err)
	}
	whole()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	another := hosttest.NewLoop(t, 1<<20)
	class.Wipe.Command = []string{"/bin/ln", "-sfn", another, path}
	if _, err := (localMachine{}).Wipe(t.Context(), class, job); err == nil || !strings.Contains(err.Error(), "leads to device") {
		t.Errorf("a device that was exchanged gave %v", err)
	}
}
