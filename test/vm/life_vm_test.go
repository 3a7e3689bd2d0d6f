//go:build vm

package vm_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/volume"
	"github.com/berth-storage/berth/internal/wipe"
)

// journalDisk holds the journal.
const journalDisk = "JOURNAL"

// notes is how many records are written over and over without a disk, so that
// the journal is being written whenever the power goes.
const notes = 3

// life has volumes live as the agent has them do: published, used, wiped, and
// again, in the journal before each step. It never ends by itself. It prints
//
//	found NAME CYCLE STATE OFFSET LEFT    what the journal has at the start, and how many bytes or files of a tenant there are
//	ack NAME CYCLE STATE OFFSET           what the journal has promised to have from now on
//
// Arguments: "new" or "old" for the journal's filesystem, "check" to end after
// what was found or "go", a seed, and the volumes' serial numbers. Those that
// begin with the name of a filesystem are directories, the others block devices.
func life(args []string) error {
	age, do, volumes := args[0], args[1], args[3:]
	seed, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	j, err := openJournal(age == "new")
	if err != nil {
		return err
	}
	ended := make(chan error)
	var all []*living
	for i, serial := range volumes {
		l := &living{name: serial, journal: j, rand: rand.New(rand.NewPCG(seed, uint64(i)))}
		if l.path, l.block, err = device(serial); err != nil {
			return err
		}
		l.identity = l.block.ID()
		if kind, _, isDir := strings.Cut(serial, "-"); isDir && strings.ToUpper(kind) != kind {
			if err := l.mount(kind, age == "new"); err != nil {
				return err
			}
		}
		all = append(all, l)
	}
	for i := range notes {
		name := fmt.Sprintf("NOTE-%d", i)
		all = append(all, &living{name: name, journal: j, identity: disk.ID("weak:note:" + name)})
	}
	for _, l := range all {
		if err := l.find(); err != nil {
			return err
		}
	}
	if do == "check" {
		return nil
	}
	for _, l := range all {
		go func() { ended <- fmt.Errorf("%s: %w", l.name, l.live()) }()
	}
	return <-ended
}

func openJournal(fresh bool) (*volume.Journal, error) {
	path, _, err := device(journalDisk)
	if err != nil {
		return nil, err
	}
	if fresh {
		if out, err := exec.Command("mkfs.ext4", "-q", path).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("making the journal's filesystem: %w\n%s", err, out)
		}
	}
	if err := unix.Mount(path, "/mnt", "ext4", 0, ""); err != nil {
		out, _ := exec.Command("dmesg", "--level=warn+").CombinedOutput()
		return nil, fmt.Errorf("mounting the journal's filesystem: %w\n%s", err, out)
	}
	return volume.OpenJournal("/mnt/volumes")
}

// living is one volume.
type living struct {
	name     string
	journal  *volume.Journal
	identity disk.ID
	path     string // "" for a record without a disk
	dir      string // where a filesystem volume is mounted
	block    disk.Block
	rand     *rand.Rand
	record   volume.Record
}

// find takes the record that the journal has.
func (l *living) find() error {
	id := volume.IDOf(l.identity)
	r, ok := l.journal.Get(id)
	if !ok {
		r = volume.Record{ID: id, Identity: l.identity, State: volume.Clean, PV: volume.PVRef{Version: "0"}}
	}
	l.record = r
	var tenants int64
	var err error
	switch {
	case l.dir != "":
		tenants, err = files(l.dir)
	case l.path != "":
		tenants, err = left(l.path)
	}
	if err == nil {
		_, err = fmt.Println("found", l.name, r.PV.Version, r.State, r.Offset, tenants)
	}
	return err
}

// keep is Put with a word to the host.
func (l *living) keep(edit func(*volume.Record)) error {
	edit(&l.record)
	if err := l.journal.Put(l.record); err != nil {
		return err
	}
	_, err := fmt.Println("ack", l.name, l.record.PV.Version, l.record.State, l.record.Offset)
	return err
}

func (l *living) state(s volume.State) error {
	return l.keep(func(r *volume.Record) { r.State, r.Offset = s, 0 })
}

func (l *living) live() error {
	for {
		var err error
		switch l.record.State {
		case volume.Clean, volume.Wiped:
			cycle, e := strconv.Atoi(l.record.PV.Version)
			if e != nil {
				return e
			}
			err = l.keep(func(r *volume.Record) {
				r.State, r.Offset, r.PV.Version = volume.Published, 0, strconv.Itoa(cycle+1)
			})
		case volume.Published:
			err = l.state(volume.Used)
		case volume.Used:
			if err = l.use(); err == nil {
				err = l.keep(func(r *volume.Record) { r.State, r.Offset, r.OffsetOf = volume.Wiping, 0, l.way() })
			}
		case volume.Wiping:
			if err = l.wipe(); err == nil {
				err = l.state(volume.Wiped)
			}
		default:
			err = errors.New("state " + string(l.record.State))
		}
		if err != nil {
			return err
		}
	}
}

// use is what a tenant does: it writes, and says nothing of when it is to last.
func (l *living) use() error {
	switch {
	case l.path == "":
		return nil
	case l.dir != "":
		return l.useDir()
	}
	data := []byte(strings.Repeat("tenant "+l.record.PV.Version+" ", int(l.block.SizeBytes)/8))
	f, err := os.OpenFile(l.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data[:l.block.SizeBytes]); err != nil {
		return err
	}
	if l.rand.IntN(2) == 0 {
		return f.Sync()
	}
	return nil
}

// ways are how a volume is wiped; the journal has the name.
var ways = map[string]wipe.BlockOptions{
	"discard": {Method: wipe.MethodDiscard},
	"zero":    {Method: wipe.MethodZero, Passes: 3},
	"shred":   {Method: wipe.MethodShred, Passes: 2},
}

func (l *living) way() string {
	if l.path == "" {
		return ""
	}
	return []string{"discard", "zero", "shred"}[l.rand.IntN(3)]
}

func (l *living) wipe() error {
	switch {
	case l.path == "":
		return nil
	case l.dir != "":
		return l.wipeDir()
	}
	b, err := host.OpenBlock(l.path, func(fd int) error {
		now, err := disk.ReadBlockFD(os.DirFS("/"), fd)
		if err != nil {
			return err
		}
		return l.identity.Expect(now.ID())
	})
	if err != nil {
		return err
	}
	defer b.Close()
	o := ways[l.record.OffsetOf]
	o.From = l.record.Offset
	o.Checkpoint = func(off int64) error { return l.keep(func(r *volume.Record) { r.Offset = off }) }
	_, err = wipe.Block(context.Background(), b, o)
	return err
}
