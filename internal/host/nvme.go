package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
)

// ErrNoFormat: the device cannot be formatted by its own command, or not without
// touching others.
var ErrNoFormat = errors.New("cannot be formatted by NVMe")

// formatTimeout bounds a Format: disks that erase block by block take hours.
const formatTimeout = 24 * time.Hour

// Of include/uapi/linux/nvme_ioctl.h.
const (
	nvmeID    = 0x4e40     // NVME_IOCTL_ID: the namespace's ID
	nvmeAdmin = 0xc0484e41 // NVME_IOCTL_ADMIN_CMD
)

// nvmeCommand is struct nvme_passthru_cmd.
type nvmeCommand struct {
	opcode        uint8
	_             [3]uint8 // flags
	nsid          uint32
	_             [2]uint32 // cdw2, cdw3
	_             uint64    // metadata
	addr          uint64
	_             uint32 // metadata_len
	dataBytes     uint32
	cdw10         uint32
	_             [5]uint32 // cdw11 to 15
	timeoutMillis uint32
	_             uint32 // result
}

// Admin commands and their CNS values: NVM Express base specification 2.0,
// figures 138 and 273.
const (
	identify           = 0x06
	formatNVM          = 0x80
	identifyNamespace  = 0x00
	identifyController = 0x01
	identifyActive     = 0x02 // IDs of the active namespaces
	identifyBytes      = 4096
)

// Format has an NVMe namespace erase its user data by the command Format NVM,
// with secure erase setting 1, and keep its block size and protection. What it
// reads as afterwards is the device's own affair. It returns when the device has
// done so, which can take hours and cannot be stopped. A partition, a device of
// another kind, and a controller that would erase other namespaces with it are
// ErrNoFormat.
func (b *Block) Format() error {
	if err := b.format(); err != nil {
		return fmt.Errorf("formatting device %q: %w", b.path, err)
	}
	return nil
}

func (b *Block) format() error {
	facts, err := disk.ReadBlockFD(os.DirFS("/"), b.fd)
	if err != nil {
		return err
	}
	if facts.Partition {
		return fmt.Errorf("%w: it is a partition, and the command is about the whole namespace", ErrNoFormat)
	}
	nsid, err := unix.IoctlRetInt(b.fd, nvmeID)
	if err != nil {
		return fmt.Errorf("%w: it is no NVMe namespace", ErrNoFormat)
	}
	controller, active, namespace := make([]byte, identifyBytes), make([]byte, identifyBytes), make([]byte, identifyBytes)
	for _, q := range []struct {
		nsid, cns uint32
		into      []byte
	}{{0, identifyController, controller}, {0, identifyActive, active}, {uint32(nsid), identifyNamespace, namespace}} {
		if err := b.admin(nvmeCommand{opcode: identify, nsid: q.nsid, cdw10: q.cns}, q.into); err != nil {
			return fmt.Errorf("asking the controller about itself: %w", err)
		}
	}
	if err := mayFormat(controller, active); err != nil {
		return err
	}
	return b.admin(nvmeCommand{
		opcode: formatNVM, nsid: uint32(nsid), cdw10: formatAs(namespace), timeoutMillis: uint32(formatTimeout.Milliseconds()),
	}, nil)
}

// mayFormat says whether a controller, by its own words, formats one namespace
// and no other: OACS and FNA of figure 275.
func mayFormat(controller, active []byte) error {
	const supported, manages, formatsAll, erasesAll = 1 << 1, 1 << 3, 1 << 0, 1 << 1
	oacs, all := binary.LittleEndian.Uint16(controller[256:]), controller[524]&(formatsAll|erasesAll) != 0
	others := binary.LittleEndian.Uint32(active[4:]) != 0 // a second one in the list
	switch {
	case oacs&supported == 0:
		return fmt.Errorf("%w: its controller does not know the command", ErrNoFormat)
	case all && others:
		return fmt.Errorf("%w: its controller formats all of its namespaces at once, and there are others", ErrNoFormat)
	case all && oacs&manages != 0: // there may be some that no controller shows
		return fmt.Errorf("%w: its controller formats all of its namespaces at once, and there may be others", ErrNoFormat)
	}
	return nil
}

// formatAs is dword 10 of the command, which keeps the namespace as it is: FLBAS
// and DPS of the NVM command set specification 1.0, figure 97.
func formatAs(namespace []byte) uint32 {
	const eraseUserData = 1
	flbas, dps := uint32(namespace[26]), uint32(namespace[29])
	lower, metadataAtEnd, upper := flbas&0xf, flbas>>4&1, flbas>>5&3
	protection, first := dps&7, dps>>3&1
	return upper<<12 | eraseUserData<<9 | first<<8 | protection<<5 | metadataAtEnd<<4 | lower
}

// admin sends a command to the controller and waits for its end.
func (b *Block) admin(c nvmeCommand, into []byte) error {
	if len(into) > 0 {
		// The kernel gets the address as a number, which nothing else keeps.
		var pin runtime.Pinner
		pin.Pin(&into[0])
		defer pin.Unpin()
		c.addr, c.dataBytes = uint64(uintptr(unsafe.Pointer(&into[0]))), uint32(len(into))
	}
	status, _, err := unix.Syscall(unix.SYS_IOCTL, uintptr(b.fd), nvmeAdmin, uintptr(unsafe.Pointer(&c)))
	if err != 0 {
		return err
	}
	if status != 0 {
		return fmt.Errorf("the controller answers with status %#x", status)
	}
	return nil
}
