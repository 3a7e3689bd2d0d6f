package vm

import (
	"context"
	"fmt"
	"io"
)

// Kind is how a disk is attached.
type Kind string

// The kinds of disks.
const (
	// NVMe disks lose nothing when the power is cut, like those with capacitors:
	// QEMU's (7.2) says that it writes through on request and does not, so one
	// with a volatile cache would lose what no real disk loses.
	NVMe   Kind = "nvme"
	SCSI   Kind = "scsi"
	Virtio Kind = "virtio"
)

// volatile says whether the disk may lose what was not flushed.
func (d Disk) volatile() bool { return d.Kind == SCSI || d.Kind == Virtio }

// Disk is a disk to make. The machine finds its serial number in sysfs.
type Disk struct {
	Serial string // unique in the machine; at most 20 characters, virtio's limit
	Bytes  int64  // whole pages of 4096 bytes
	Kind   Kind   // NVMe if empty
	WWN    uint64 // of a SCSI disk, 0 for none
}

// attached is a disk with its content, which it keeps while it is in no machine.
type attached struct {
	Disk
	content *store
	slot    int // where it is plugged in, -1 when it is not
	served  chan error
	hungUp  func() // QEMU is not there any more: an answer that hangs ends
}

// slots is how many disks a machine can have, beside the one it starts from.
const slots = 12

// device is QEMU's description of the disk on its slot.
func (d *attached) device() map[string]any {
	out := map[string]any{"id": d.id(), "drive": d.id(), "serial": d.Serial, "bus": fmt.Sprintf("slot%d", d.slot)}
	if d.volatile() {
		out["physical_block_size"] = pageBytes
	}
	switch d.Kind {
	case SCSI:
		out["driver"], out["bus"] = "scsi-hd", fmt.Sprintf("scsi%d.0", d.slot)
		out["device_id"] = d.Serial
		if d.WWN != 0 {
			out["wwn"] = d.WWN
		}
	case Virtio:
		out["driver"] = "virtio-blk-pci"
	default:
		out["driver"] = "nvme"
	}
	return out
}

// block is QEMU's description of the connection that gives it the content: fd
// is the number or the name of an open file.
func (d *attached) block(fd string) map[string]any {
	return map[string]any{"driver": "nbd", "node-name": d.id(), "server": map[string]any{"type": "fd", "str": fd}}
}

// controller is the SCSI controller on the disk's slot.
func (d *attached) controller() map[string]any {
	return map[string]any{"driver": "virtio-scsi-pci", "id": fmt.Sprintf("scsi%d", d.slot), "bus": fmt.Sprintf("slot%d", d.slot)}
}

func (d *attached) id() string { return "disk-" + d.Serial }

// serve lets QEMU have the content through conn.
func (d *attached) serve(conn io.ReadWriteCloser) {
	ctx, cancel := context.WithCancel(context.Background())
	d.served, d.hungUp = make(chan error, 1), cancel
	go func() {
		defer cancel()
		d.served <- d.content.serve(ctx, conn)
	}()
}

func (m *Machine) disk(serial string) (*attached, error) {
	for _, d := range m.disks {
		if d.Serial == serial {
			return d, nil
		}
	}
	return nil, fmt.Errorf("the machine has no disk %s", serial)
}
