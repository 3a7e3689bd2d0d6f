//go:build vm

package vm_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/berth-storage/berth/internal/volume"
	"github.com/berth-storage/berth/test/vm"
)

// step is how far a volume has come in its life.
type step struct {
	cycle  int
	state  volume.State
	offset int64
}

var rank = map[volume.State]int{volume.Clean: 0, volume.Published: 1, volume.Used: 2, volume.Wiping: 3, volume.Wiped: 4}

func (s step) before(other step) bool {
	switch {
	case s.cycle != other.cycle:
		return s.cycle < other.cycle
	case s.state != other.state:
		return rank[s.state] < rank[other.state]
	}
	return s.offset < other.offset
}

// TestVMPowerCuts cuts the power again and again while volumes are published,
// used, checkpointed and wiped, and the disks lose what they had not yet written.
// What the journal has once promised is there afterwards, or what came after it,
// and a volume that the journal calls free of a tenant's bytes is.
//
// Journal and wipe have no rest here, so that many a cut meets them. Package
// nodetest cuts the power of the whole agent.
//
// BERTH_VM_CUTS is how often, BERTH_VM_SEED what chooses the moments and the
// losses. The machine's own timing is beyond a seed.
func TestVMPowerCuts(t *testing.T) {
	cuts, seed := vm.Number(t, "BERTH_VM_CUTS", 14), vm.Number(t, "BERTH_VM_SEED", uint64(time.Now().UnixNano()))
	t.Logf("BERTH_VM_SEED=%d BERTH_VM_CUTS=%d", seed, cuts)
	r := rand.New(rand.NewPCG(seed, 0))
	volumes := []string{"VOLUME-A", "VOLUME-B", "ext4-VOLUME", "xfs-VOLUME"}
	m := boot(t, vm.Disk{Serial: journalDisk, Bytes: 32 * mib, Kind: vm.Virtio},
		vm.Disk{Serial: volumes[0], Bytes: 6 * mib, Kind: vm.Virtio}, vm.Disk{Serial: volumes[1], Bytes: 6 * mib, Kind: vm.Virtio},
		vm.Disk{Serial: volumes[2], Bytes: 32 * mib, Kind: vm.Virtio}, vm.Disk{Serial: volumes[3], Bytes: 320 * mib, Kind: vm.Virtio})
	w := witness{acked: map[string]step{}, at: map[volume.State]int{}}
	began, working := time.Now(), time.Duration(0)
	for cut := range cuts {
		age := "old"
		if cut == 0 {
			age = "new"
		}
		from := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		l := start(ctx, m, append([]string{"life", age, "go", fmt.Sprint(r.Uint64())}, volumes...)...)
		// So many steps of volumes, and then at any moment.
		w.watch(t, l, r.IntN(20))
		<-time.After(time.Duration(r.IntN(100)) * time.Millisecond)
		if err := m.CutPower(r); err != nil {
			t.Fatal(err)
		}
		err := <-l.end
		for line := range l.in { // what was on its way was promised too
			w.line(t, line)
		}
		cancel()
		if !errors.Is(err, vm.ErrOff) {
			t.Fatalf("cut %d: the volumes' life ended with %v", cut, err)
		}
		for _, name := range volumes {
			w.at[w.acked[name].state]++
		}
		working += time.Since(from)
		if err := m.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.found = 0
	for _, line := range all(t, m, append([]string{"life", "old", "check", "0"}, volumes...)...) {
		w.line(t, line)
	}
	if want := len(volumes) + notes; w.found != want {
		t.Errorf("found %d records in the end, want %d", w.found, want)
	}
	t.Logf("%d cuts in %s, %s of it at work; %d promises; the power went in these states: %v; the volumes came to %+v",
		cuts, time.Since(began).Round(time.Second), working.Round(time.Second), w.acks, w.at, w.acked)
}

// witness keeps what was promised, and compares what is found with it.
type witness struct {
	acked map[string]step
	acks  int
	found int
	at    map[volume.State]int
}

// watch reads until volumes with disks have come so many steps further.
func (w *witness) watch(t *testing.T, l lines, steps int) {
	t.Helper()
	for ready := 0; steps > 0 || ready < notes; {
		line, ok := <-l.in
		if !ok {
			t.Fatalf("the volumes' life ended: %v", <-l.end)
		}
		switch name := w.line(t, line); {
		case name == "":
		case strings.HasPrefix(name, "NOTE"):
			ready++
		default:
			steps--
		}
	}
}

// line takes in one line, and returns whose promise it is, if it is one.
func (w *witness) line(t *testing.T, line string) (name string) {
	t.Helper()
	var verb string
	var s step
	var bytes int64
	fields, _ := fmt.Sscan(line, &verb, &name, &s.cycle, &s.state, &s.offset, &bytes)
	switch {
	case verb == "ack" && fields == 5:
		w.acked[name] = s
		w.acks++
		return name
	case verb == "found" && fields == 6:
		w.found++
		if last, ok := w.acked[name]; ok && s.before(last) || rank[s.state] == 0 && s.state != volume.Clean {
			t.Errorf("%s: the journal had promised %+v, and now has %+v", name, last, s)
		}
		if free := s.state == volume.Clean || s.state == volume.Published || s.state == volume.Wiped; free && bytes > 0 {
			t.Errorf("%s is %s in the journal, and has %d bytes or files of a tenant", name, s.state, bytes)
		}
		return ""
	}
	t.Errorf("in the machine: %s", line)
	return ""
}
