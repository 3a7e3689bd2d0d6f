package vm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"

	"github.com/berth-storage/berth/test/vm/internal/wire"
)

// Options is what a machine is made of.
type Options struct {
	Disks []Disk // in the order of their slots
	// Files are files and directories of the host by the name under which the
	// machine has them in its own memory, below /host. A test gives its own
	// binary, /proc/self/exe.
	Files map[string]string
	// Forward are TCP addresses in the machine, of its loopback, and where on the
	// host connections to them lead. The machine has no other network.
	Forward map[string]string
}

// Machine is a computer with disks, on or off. Its methods belong to one
// goroutine, except for Run and Output.
type Machine struct {
	system system
	binary []byte // the guest
	files  map[string]string
	// forward is Options.Forward.
	forward map[string]string
	disks   []*attached

	qemu    *qemu // nil when the machine is off
	guest   *guest
	monitor *monitor
}

// Boot makes a machine and returns when it is up. It has to be closed.
func Boot(ctx context.Context, o Options) (*Machine, error) {
	if runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("booting a machine: it is a PC, and this is %s", runtime.GOARCH)
	}
	m := &Machine{files: o.Files, forward: o.Forward}
	var err error
	if m.system, err = prepare(ctx); err != nil {
		return nil, err
	}
	if m.binary, err = buildGuest(ctx); err != nil {
		return nil, err
	}
	var order []string
	for _, d := range o.Disks {
		if err := m.insert(d); err != nil {
			return nil, errors.Join(err, m.Close())
		}
		order = append(order, d.Serial)
	}
	if err := m.on(ctx, order); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// insert makes a disk, which is in no slot yet.
func (m *Machine) insert(d Disk) error {
	if _, err := m.disk(d.Serial); err == nil || d.Serial == wire.RootSerial {
		return fmt.Errorf("adding disk %s: there is one with that serial number", d.Serial)
	}
	content, err := newStore(d.Bytes, !d.volatile())
	if err != nil {
		return err
	}
	m.disks = append(m.disks, &attached{Disk: d, content: content, slot: -1})
	return nil
}

// AddDisk plugs a new disk into the running machine, or one that was pulled:
// its serial number says which. The machine notices in its own time.
func (m *Machine) AddDisk(ctx context.Context, d Disk) error {
	if m.qemu == nil {
		return fmt.Errorf("adding disk %s: %w", d.Serial, ErrOff)
	}
	a, err := m.disk(d.Serial)
	switch {
	case err != nil:
		if err := m.insert(d); err != nil {
			return err
		}
		a = m.disks[len(m.disks)-1]
	case a.slot >= 0:
		return fmt.Errorf("adding disk %s: it is plugged in", d.Serial)
	}
	taken := make([]bool, slots)
	for _, other := range m.disks {
		if other.slot >= 0 {
			taken[other.slot] = true
		}
	}
	if a.slot = slices.Index(taken, false); a.slot < 0 {
		return fmt.Errorf("adding disk %s: all %d slots are taken", d.Serial, slots)
	}
	if err := m.plug(ctx, a); err != nil {
		a.slot = -1
		return fmt.Errorf("adding disk %s: %w", d.Serial, err)
	}
	return nil
}

func (m *Machine) plug(ctx context.Context, d *attached) error {
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	d.serve(ours)
	err = m.monitor.pass(ctx, theirs, "getfd", map[string]any{"fdname": d.id()})
	if err == nil {
		err = m.monitor.do(ctx, "blockdev-add", d.block(d.id()))
	}
	if err == nil && d.Kind == SCSI {
		err = m.monitor.do(ctx, "device_add", d.controller())
	}
	if err == nil {
		err = m.monitor.do(ctx, "device_add", d.device())
	}
	if err != nil {
		ours.Close()
		<-d.served
	}
	return err
}

// PullDisk unplugs a disk, also in the middle of work, and returns when the
// machine has let go of it. The disk keeps what it has.
func (m *Machine) PullDisk(ctx context.Context, serial string) error {
	d, err := m.disk(serial)
	switch {
	case err != nil:
		return err
	case m.qemu == nil:
		return fmt.Errorf("pulling disk %s: %w", serial, ErrOff)
	case d.slot < 0:
		return fmt.Errorf("pulling disk %s: it is not plugged in", serial)
	}
	devices := []string{d.id()}
	if d.Kind == SCSI {
		devices = append(devices, d.controller()["id"].(string))
	}
	for _, device := range devices {
		if err := m.monitor.do(ctx, "device_del", map[string]any{"id": device}); err != nil {
			return fmt.Errorf("pulling disk %s: %w", serial, err)
		}
		if err := m.monitor.gone(ctx, device); err != nil {
			return fmt.Errorf("pulling disk %s: %w", serial, err)
		}
	}
	if err := m.monitor.do(ctx, "blockdev-del", map[string]any{"node-name": d.id()}); err != nil {
		return fmt.Errorf("pulling disk %s: %w", serial, err)
	}
	d.slot = -1
	return <-d.served
}

// CutPower turns the machine off in the middle of whatever it does. What it had
// in its memory is lost, and of what the disks had in their volatile caches a
// part that r chooses, page by page.
func (m *Machine) CutPower(r *rand.Rand) error {
	if err := m.off(); err != nil {
		return err
	}
	for _, d := range m.disks {
		if err := d.content.lose(r); err != nil {
			return fmt.Errorf("cutting the power of disk %s: %w", d.Serial, err)
		}
	}
	return nil
}

// Reboot starts the machine with these disks plugged in, in this order; with
// none named, all of them in the order they had when they were added. If it is
// on, it writes its page cache out first, and ends.
func (m *Machine) Reboot(ctx context.Context, order ...string) error {
	if m.qemu != nil {
		if err := m.shutDown(ctx); err != nil {
			return err
		}
	}
	if order == nil {
		for _, d := range m.disks {
			order = append(order, d.Serial)
		}
	}
	return m.on(ctx, order)
}

// shutDown turns the machine off as its user would.
func (m *Machine) shutDown(ctx context.Context) error {
	if err := m.guest.out.Send(wire.Request{Off: true}); err != nil {
		return fmt.Errorf("turning the machine off: %w", err)
	}
	select {
	case <-m.guest.off:
	case <-ctx.Done():
		return fmt.Errorf("turning the machine off: %w", ctx.Err())
	}
	if err := m.off(); err != nil {
		return err
	}
	for _, d := range m.disks {
		if err := d.content.flush(); err != nil {
			return fmt.Errorf("turning the machine off: %w", err)
		}
	}
	return nil
}

// off ends the process and whatever was in its connections.
func (m *Machine) off() error {
	if m.qemu == nil {
		return nil
	}
	err := m.qemu.kill()
	m.qemu = nil
	<-m.guest.off
	m.guest.conn.Close()
	m.monitor.conn.Close()
	for _, d := range m.disks {
		if d.slot >= 0 {
			d.slot = -1
			d.hungUp()
			// QEMU may have died in the middle of a request.
			<-d.served
		}
	}
	return err
}

// Close ends the machine and forgets its disks. Nothing of it is left.
func (m *Machine) Close() error {
	err := m.off()
	for _, d := range m.disks {
		err = errors.Join(err, d.content.file.Close())
	}
	m.disks = nil
	return err
}
