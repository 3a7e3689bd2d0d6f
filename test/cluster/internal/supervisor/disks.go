package supervisor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"github.com/berth-storage/berth/test/cluster/internal/loop"
	"github.com/berth-storage/berth/test/cluster/internal/node"
	"github.com/berth-storage/berth/test/cluster/internal/state"
)

// format has the command that makes each filesystem; the file comes last.
var format = map[string][]string{
	"ext4":  {"mkfs.ext4", "-q", "-F"},
	"xfs":   {"mkfs.xfs", "-q", "-f"},
	"btrfs": {"mkfs.btrfs", "-q", "-f"},
}

// Raw is the "filesystem" of a disk without one.
const Raw = "none"

// diskName is what a disk may be called: it becomes a file's name. Spaces are
// allowed, since mount points with spaces are worth testing.
var diskName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._ -]*$`)

// CheckDisk says what is wrong with the description of a disk.
func CheckDisk(d state.Disk) error {
	if !diskName.MatchString(d.Name) {
		return fmt.Errorf("adding disk %q: the name must start with a letter or digit, and have letters, digits, spaces and . _ - only", d.Name)
	}
	if _, ok := format[d.FS]; !ok && d.FS != Raw {
		return fmt.Errorf("adding disk %q: filesystem %q is none of ext4, xfs, btrfs, none", d.Name, d.FS)
	}
	if d.Pool && d.FS == Raw {
		return fmt.Errorf("adding disk %q: a pool's disk needs a filesystem", d.Name)
	}
	if d.Bytes < 1<<20 || d.Bytes%512 != 0 {
		return fmt.Errorf("adding disk %q: a size of %d bytes is under 1 MiB or no multiple of 512", d.Name, d.Bytes)
	}
	return nil
}

// addDisk gives a node a disk and shows it in the node: a mount in /mnt/disks
// or /mnt/pools, or for a raw one a link in /mnt/blocks.
func (s *Supervisor) addDisk(name string, d state.Disk) (*Added, error) {
	if err := CheckDisk(d); err != nil {
		return nil, err
	}
	unlock, err := s.lock(name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	l, err := s.life(name)
	if err != nil {
		return nil, err
	}
	if n := s.node(name); n.Disk(d.Name) != nil {
		return nil, fmt.Errorf("adding disk %q: node %s has one of that name", d.Name, name)
	}
	d.File, d.Loop = s.diskFile(name, d.Name), ""
	if err := s.record(func(st *state.State) {
		n := st.Node(name)
		n.Disks = append(n.Disks, d)
	}); err != nil {
		return nil, err
	}
	if err := s.attachDisk(name, &d); err != nil {
		return nil, errors.Join(err, s.dropDisk(name, d, Removal{Force: true}))
	}
	reply, err := showDisk(l, d)
	if err != nil {
		return nil, errors.Join(err, s.dropDisk(name, d, Removal{Force: true}))
	}
	return &Added{Disk: d, At: reply.At}, nil
}

// attachDisk makes the disk's file, with its filesystem, unless it is there,
// and attaches it. The file appears under its name only when it is complete.
func (s *Supervisor) attachDisk(name string, d *state.Disk) error {
	if _, err := os.Stat(d.File); errors.Is(err, os.ErrNotExist) {
		if err := makeDisk(*d); err != nil {
			return err
		}
	} else if err != nil {
		return fmt.Errorf("making disk %s: %w", d.Name, err)
	}
	dev, err := loop.Attach(d.File)
	if err != nil {
		return err
	}
	d.Loop = dev
	return s.record(func(st *state.State) { st.Node(name).Disk(d.Name).Loop = dev })
}

func makeDisk(d state.Disk) error {
	if err := os.MkdirAll(filepath.Dir(d.File), 0o700); err != nil {
		return fmt.Errorf("making disk %s: %w", d.Name, err)
	}
	tmp := d.File + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("making disk %s: %w", d.Name, err)
	}
	err = f.Truncate(d.Bytes)
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return fmt.Errorf("making disk %s: %w", d.Name, err)
	}
	if c, ok := format[d.FS]; ok {
		out, err := exec.Command(c[0], append(c[1:], tmp)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("formatting disk %s: %w: %s", d.Name, err, out)
		}
	}
	if err := os.Rename(tmp, d.File); err != nil {
		return fmt.Errorf("making disk %s: %w", d.Name, err)
	}
	return nil
}

// showDisk mounts or links the disk in the node.
func showDisk(l *life, d state.Disk) (node.Reply, error) {
	r := node.Request{Do: node.DoMount, Source: d.Loop, Target: place(d), FS: d.FS}
	if d.FS == Raw {
		r = node.Request{Do: node.DoLink, Source: d.Loop, Target: place(d)}
	}
	return l.conn.Ask(r)
}

// place is where the node sees a disk.
func place(d state.Disk) string {
	dir := node.DisksDir
	switch {
	case d.FS == Raw:
		dir = node.BlocksDir
	case d.Pool:
		dir = node.PoolsDir
	}
	return filepath.Join(dir, d.Name)
}

// removeDisk takes a disk from a node.
func (s *Supervisor) removeDisk(name, disk string, how Removal) error {
	unlock, err := s.lock(name)
	if err != nil {
		return err
	}
	defer unlock()
	n := s.node(name)
	d := n.Disk(disk)
	if d == nil {
		return fmt.Errorf("removing disk %s: node %s has none of that name", disk, name)
	}
	return s.dropDisk(name, *d, how)
}

func (s *Supervisor) dropDisk(name string, d state.Disk, how Removal) error {
	if l, err := s.life(name); err == nil {
		r := node.Request{Do: node.DoUnmount, Target: place(d), Force: how.Force}
		if d.FS == Raw {
			r = node.Request{Do: node.DoUnlink, Target: place(d)}
		}
		if _, err := l.conn.Ask(r); err != nil {
			return err
		}
	}
	if d.Loop != "" {
		patience := stopPatience
		if how.Force {
			patience = 0 // whoever has it open keeps it until it lets go
		}
		if err := loop.Detach(d.Loop, d.File, patience); err != nil && !how.Force {
			return err
		}
	}
	if !how.Keep {
		if err := os.Remove(d.File); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing disk %s: %w", d.Name, err)
		}
	}
	return s.record(func(st *state.State) {
		n := st.Node(name)
		for i := range n.Disks {
			if n.Disks[i].Name == d.Name {
				n.Disks = append(n.Disks[:i], n.Disks[i+1:]...)
				return
			}
		}
	})
}
