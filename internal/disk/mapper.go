package disk

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Mapped is a device of the device mapper.
type Mapped struct {
	Device    string // the kernel's name, dm-0
	Name      string // the one that was given to it
	UUID      string // begins with who made it: LVM-, mpath-, CRYPT-
	SizeBytes int64
	Suspended bool // requests to it wait, as its maker is changing it or was stopped in the middle of that
}

// ReadMapped lists what devices the device mapper has, from sysfs below sys.
func ReadMapped(sys fs.FS) ([]Mapped, error) {
	const dir = "sys/block"
	entries, err := fs.ReadDir(sys, dir)
	if err != nil {
		return nil, fmt.Errorf("listing the device mapper's devices: %w", err)
	}
	var all []Mapped
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "dm-") {
			continue
		}
		at := path.Join(dir, e.Name())
		size, err := readInt(sys, path.Join(at, "size"))
		if err != nil {
			continue // it went away meanwhile
		}
		all = append(all, Mapped{
			Device: e.Name(), Name: readText(sys, path.Join(at, "dm/name")), UUID: readText(sys, path.Join(at, "dm/uuid")),
			SizeBytes: size * 512, Suspended: readText(sys, path.Join(at, "dm/suspended")) == "1",
		})
	}
	return all, nil
}
