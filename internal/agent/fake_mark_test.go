package agent

import (
	"errors"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/volume"
)

// What the fake machine's directories have in them, and their marks.

func (p *process) Empty(_ config.Class, e entry, id disk.ID) (empty bool, err error) {
	err = p.step("examine "+e.Name, func() error {
		d := p.w.disks[e.Name]
		if d == nil || d.identity != id {
			return errors.New("another disk")
		}
		empty = d.bytes == ""
		return nil
	})
	return empty, err
}

func (d *fakeDisk) readMark(out *volume.Disk) {
	out.Markable = !out.Keep && !d.device
	if d.mark != nil {
		out.Mark = volume.ReadMark(d.mark)
	}
}

func (p *process) Mark(_ config.Class, e entry, id disk.ID, text []byte, _ bool) error {
	return p.step("mark "+e.Name, func() error {
		d := p.w.disks[e.Name]
		if d == nil || d.identity != id || d.device {
			return errors.New("another disk")
		}
		if d.noMark == nil {
			d.mark = text
		}
		return d.noMark
	})
}

// unmark is the end of a wipe that has come to err.
func (p *process) unmark(e entry, err error) error {
	if err != nil || e.Kind != kindMount {
		return err
	}
	return p.step("unmark "+e.Name, func() error {
		p.w.disks[e.Name].mark = nil
		return nil
	})
}
