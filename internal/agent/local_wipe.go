package agent

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/wipe"
)

// Wipe implements machine.
func (localMachine) Wipe(ctx context.Context, c config.Class, w wipeJob) (wipeResult, error) {
	path := filepath.Join(c.MountDir, w.Entry.Name)
	if w.Entry.Kind == kindDevice {
		device, err := filepath.EvalSymlinks(path)
		if err != nil {
			return wipeResult{}, err
		}
		if c.Wipe.Method == config.WipeCommand {
			return runCommand(ctx, c, w, path, device)
		}
		return wipeDevice(ctx, c, w, device, proveDevice(c, w))
	}
	t, err := host.OpenTree(path, proveMount(c, w.Entry, w.Identity))
	if err != nil {
		return wipeResult{}, err
	}
	defer t.Shut()
	o := wipe.ContentsOptions{Progress: w.Progress}
	if w.Root != nil {
		o.Owner = *w.Root
	}
	r, err := wipe.Contents(ctx, t, o)
	if err == nil {
		err = unmark(t)
	}
	return wipeResult{Method: string(r.Method), Entries: r.Entries}, err
}

// wipeMethods are the ways that need no other program.
var wipeMethods = map[config.WipeMethod]wipe.Method{
	config.WipeErase:      wipe.MethodDiscard,
	config.WipeZero:       wipe.MethodZero,
	config.WipeShred:      wipe.MethodShred,
	config.WipeSignatures: wipe.MethodSignatures,
	config.WipeNVMeFormat: wipe.MethodFormat,
}

func wipeDevice(ctx context.Context, c config.Class, w wipeJob, device string, prove func(fd int) error) (wipeResult, error) {
	method, ok := wipeMethods[c.Wipe.Method]
	if !ok {
		return wipeResult{}, fmt.Errorf("class %s: no wipe method %q", c.Name, c.Wipe.Method)
	}
	b, err := host.OpenBlock(device, prove)
	if err != nil {
		return wipeResult{}, err
	}
	defer b.Close()
	from := w.Offset
	if b.Size() != w.Entry.SizeBytes {
		from = 0 // it counts the passes over a device of that size
	}
	o := wipe.BlockOptions{Method: method, Passes: c.Wipe.Passes, Checkpoint: w.Reached, Full: c.Wipe.Verify == config.VerifyFull,
		BytesPerSecond: c.Wipe.BytesPerSecond, Progress: w.Progress}
	if o.From = from; !o.Full { // nor does it go on with a full reading back
		o.From = min(from, o.Total(b.Size()))
	}
	r, err := wipe.Block(ctx, b, o)
	return wipeResult{Method: string(r.Method), Bytes: r.Bytes}, err
}

// methodCommand is the wipeResult.Method of a command.
const methodCommand = "command"

// runCommand has the class's own command erase the device, which it finds under
// the path in the discovery directory.
func runCommand(ctx context.Context, c config.Class, w wipeJob, path, device string) (wipeResult, error) {
	prove := proveDevice(c, w)
	command := host.Command{
		Args:    c.Wipe.Command,
		Env:     []string{api.EnvDevice + "=" + path, api.EnvIdentity + "=" + string(w.Identity)},
		Timeout: c.Wipe.Timeout,
		Output:  w.Output,
	}
	err := host.AtIOPriority(host.IdlePriority, func() error {
		return host.RunOnBlock(ctx, device, func(fd int) error {
			if err := prove(fd); err != nil {
				return err
			}
			return leadsTo(path, fd)
		}, command)
	})
	return wipeResult{Method: methodCommand}, err
}

// leadsTo returns an error unless the path is that of the open device.
func leadsTo(path string, fd int) error {
	major, minor, err := disk.DeviceOfFD(fd)
	if err != nil {
		return err
	}
	nowMajor, nowMinor, err := disk.DeviceOf(path)
	if err == nil && (nowMajor != major || nowMinor != minor) {
		err = fmt.Errorf("%s leads to device %d:%d now, not to %d:%d", path, nowMajor, nowMinor, major, minor)
	}
	return err
}

// offsetOf says what the bytes are that a wipe's offset counts. An offset of
// another wipe means nothing to this one.
func offsetOf(s slot) string {
	if s.entry.Kind != kindDevice {
		return ""
	}
	return fmt.Sprintf("%s, %d passes, %d bytes", s.class.Wipe.Method, s.class.Wipe.Passes, s.entry.SizeBytes)
}

// proveDevice returns a check that an open device has the identity of the one
// to wipe.
func proveDevice(c config.Class, w wipeJob) func(fd int) error {
	return func(fd int) error {
		b, err := disk.ReadBlockFD(sys, fd)
		if err != nil {
			return err
		}
		if b.Major != w.Entry.Major || b.Minor != w.Entry.Minor { // one of two with the same identity
			return fmt.Errorf("it is device %d:%d, and %d:%d was looked at", b.Major, b.Minor, w.Entry.Major, w.Entry.Minor)
		}
		return w.Identity.Expect(identityOfDevice(b, c.Name, w.Entry.Name))
	}
}

// proveMount returns a check that an open directory is the root of the mount
// that was inspected, and that its filesystem has this identity.
func proveMount(c config.Class, e entry, identity disk.ID) func(fd int) error {
	return func(fd int) error {
		if err := disk.CheckMount(fd, e.Mount); err != nil {
			return err
		}
		now, err := identityOfMount(fd, e.Mount, c.Name, e.Name)
		if err != nil {
			return err
		}
		return identity.Expect(now)
	}
}
