package agent

import (
	"path/filepath"
	"slices"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/volume"
)

// readMark fills in what an open directory says of itself, and whether a mark
// may be written on it. One that other nodes see has none: it is not the node's.
func readMark(fd int, c config.Class, m disk.Mount, d *volume.Disk) error {
	if c.Shared {
		return nil
	}
	text, err := disk.XattrOfFD(fd, disk.MarkXattr)
	if err != nil {
		return err
	}
	if text != nil {
		d.Mark = volume.ReadMark(text)
	}
	d.Markable = !d.Keep && !m.ReadOnly
	return nil
}

// Mark implements machine.
func (localMachine) Mark(c config.Class, e entry, identity disk.ID, text []byte, durable bool) error {
	t, err := host.OpenTree(filepath.Join(c.MountDir, e.Name), proveMount(c, e, identity))
	if err != nil {
		return err
	}
	defer t.Shut()
	if err := t.SetXattr(t.Root(), disk.MarkXattr, text); err != nil {
		return err
	}
	if !durable {
		return nil
	}
	return t.SyncDir(t.Root())
}

// unmark takes the mark off a directory whose wipe was verified.
func unmark(t *host.Tree) error {
	names, err := t.Xattrs(t.Root())
	if err != nil || !slices.Contains(names, disk.MarkXattr) {
		return err
	}
	if err := t.RemoveXattr(t.Root(), disk.MarkXattr); err != nil {
		return err
	}
	return t.SyncDir(t.Root())
}
