//go:build vm

package vm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/volume"
	"github.com/berth-storage/berth/internal/wipe"
	"github.com/berth-storage/berth/test/vm"
)

// know prints for each disk its name, its identity, its volume's ID and what is
// written at its beginning; "write" before the serial numbers writes the serial
// number there first.
func know(serials []string) error {
	write := serials[0] == "write"
	if write {
		serials = serials[1:]
	}
	for _, serial := range serials {
		path, b, err := device(serial)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if write {
			if _, err := f.WriteString(serial); err != nil {
				return err
			}
		}
		mark := make([]byte, len(serial))
		if _, err := f.ReadAt(mark, 0); err != nil {
			return err
		}
		fmt.Printf("%s %s %s %q\n", b.Name, strings.ReplaceAll(string(b.ID()), " ", "_"), volume.IDOf(b.ID()), mark)
	}
	return nil
}

// TestVMIdentityOutlivesTheName: after a reboot with the disks in another order
// they have other names, and each is known as what it was.
func TestVMIdentityOutlivesTheName(t *testing.T) {
	serials := []string{"FIRST", "SECOND", "THIRD", "FOURTH", "FIFTH"}
	var disks []vm.Disk
	for i, serial := range serials {
		disks = append(disks, vm.Disk{Serial: serial, Bytes: mib, Kind: []vm.Kind{vm.NVMe, vm.NVMe, vm.NVMe, vm.Virtio, vm.Virtio}[i]})
	}
	m := boot(t, disks...)
	before := all(t, m, append([]string{"know", "write"}, serials...)...)
	if err := m.Reboot(t.Context(), "FIFTH", "THIRD", "SECOND", "FOURTH", "FIRST"); err != nil {
		t.Fatal(err)
	}
	after := all(t, m, append([]string{"know"}, serials...)...)
	renamed := 0
	for i, serial := range serials {
		name, what, _ := strings.Cut(before[i], " ")
		newName, newWhat, _ := strings.Cut(after[i], " ")
		if name != newName {
			renamed++
		}
		if what != newWhat || !strings.HasSuffix(newWhat, strconv.Quote(serial)) {
			t.Errorf("%s was %s and is %s", serial, before[i], after[i])
		}
	}
	if renamed == 0 {
		t.Errorf("no disk has another name, so this shows nothing: %q", after)
	}
	t.Logf("%d of %d disks have another name", renamed, len(serials))
}

// wipeOnce wipes the disk with a serial number from an offset in many passes,
// and prints how far it has come.
func wipeOnce(args []string) error {
	path, _, err := device(args[0])
	if err != nil {
		return err
	}
	from, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	passes, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	b, err := host.OpenBlock(path, func(int) error { return nil })
	if err != nil {
		return err
	}
	defer b.Close()
	r, err := wipe.Block(context.Background(), b, wipe.BlockOptions{
		Method: wipe.MethodZero, Passes: passes, From: from,
		Checkpoint: func(off int64) error { fmt.Println("reached", off); return nil },
	})
	if err != nil {
		fmt.Println("failed with", r.Verified, "verified:", err)
		return nil
	}
	fmt.Println("wiped with", r.Verified, "verified")
	return nil
}

// TestVMPulledWhileWiped: a disk that is pulled in the middle of its wipe ends
// the wipe with an error, and nothing is taken for verified. When it is back, it
// is the same disk, and the wipe goes on.
func TestVMPulledWhileWiped(t *testing.T) {
	const size, passes = 8 * mib, 1000
	for _, kind := range []vm.Kind{vm.NVMe, vm.Virtio} {
		t.Run(string(kind), func(t *testing.T) {
			m := boot(t, vm.Disk{Serial: "PULLED", Bytes: size, Kind: kind})
			before := all(t, m, "know", "write", "PULLED")
			l := start(t.Context(), m, "wipe", "PULLED", "0", strconv.Itoa(passes))
			reached, last := int64(0), ""
			take := func(line string) {
				if _, err := fmt.Sscanf(line, "reached %d", &reached); err != nil {
					last = line
				}
			}
			for range 3 {
				take(<-l.in)
			}
			if err := m.PullDisk(t.Context(), "PULLED"); err != nil {
				t.Fatal(err)
			}
			for line := range l.in {
				take(line)
			}
			if err := <-l.end; err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(last, "failed with 0 verified: wiping ") || reached >= size*passes {
				t.Errorf("%q after %d bytes, want an error", last, reached)
			}
			t.Logf("pulled after %d passes: %s", reached/size, last)

			if err := m.AddDisk(t.Context(), vm.Disk{Serial: "PULLED"}); err != nil {
				t.Fatal(err)
			}
			appear(t, m, "PULLED")
			after := all(t, m, "know", "PULLED")
			_, was, _ := strings.Cut(before[0], " ")
			_, is, _ := strings.Cut(after[0], " ")
			if was = was[:strings.Index(was, `"`)]; !strings.HasPrefix(is, was) {
				t.Errorf("the disk was %s and is %s", was, is)
			}
			ends := all(t, m, "wipe", "PULLED", fmt.Sprint(reached), strconv.Itoa(int(reached/size)+1))
			if got, want := ends[len(ends)-1], fmt.Sprintf("wiped with %d verified", size); got != want {
				t.Errorf("after it was back: %q, want %q", got, want)
			}
		})
	}
}

// appear waits until the machine has found a disk.
func appear(t *testing.T, m *vm.Machine, serial string) {
	t.Helper()
	for {
		l := start(t.Context(), m, "know", serial)
		for range l.in {
		}
		err := <-l.end
		if err == nil {
			return
		}
		if errors.Is(err, vm.ErrOff) || t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}
