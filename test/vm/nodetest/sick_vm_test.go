//go:build vm

package nodetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/vm"
)

// lives is how often the healthy volumes are used while one is sick.
const lives = 2

// together does something with each volume at the same time.
func together(ctx context.Context, volumes []*volume, do func(context.Context, *volume) error) error {
	errs := make([]error, len(volumes))
	var all sync.WaitGroup
	for i, v := range volumes {
		all.Go(func() {
			if err := do(ctx, v); err != nil {
				errs[i] = fmt.Errorf("%s: %w", v.Serial, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// occupy claims a volume and has its tenant write.
func (n *node) occupy(ctx context.Context, v *volume) error {
	if err := n.bind(ctx, v); err != nil {
		return err
	}
	return n.write(ctx, v, true)
}

// live releases a volume that has a tenant and gives it to the next, so often.
func (n *node) live(ctx context.Context, v *volume) error {
	for range lives {
		if err := n.release(ctx, v); err != nil {
			return err
		}
		if err := n.occupy(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// TestVMSickDisk: while one disk fails, and then hangs, in the middle of its
// wipe, the others are released, wiped and published again and again. The sick
// one is reported, is given to nobody, and is done with when it is well.
func TestVMSickDisk(t *testing.T) {
	sick := ext4Volume("EXT4-SICK")
	healthy := []*volume{ext4Volume("EXT4-A"), rawVolume("RAW-B"), rawVolume("RAW-C")}
	n := boot(t, 2, append(healthy, sick)...)
	n.start(t)
	for _, health := range []vm.Health{vm.Failing, vm.Hanging} {
		if err := together(t.Context(), n.volumes, n.occupy); err != nil {
			t.Fatal(err)
		}
		if health == vm.Failing {
			n.look(t) // so that all is in memory, and the disk fails as late as can be: when it is synced
		} else {
			n.must(t, "sh", "-c", "echo 3 > /proc/sys/vm/drop_caches")
		}
		if err := n.SetHealth(sick.Serial, health); err != nil {
			t.Fatal(err)
		}
		if err := n.release(t.Context(), sick); err != nil {
			t.Fatal(err)
		}
		if health == vm.Failing {
			n.event(t, api.ReasonWipeFailed, sick.path())
		}
		if err := together(t.Context(), healthy, n.live); err != nil {
			t.Fatal(err)
		}
		pvs, err := n.pvs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if pv := pvs[sick.path()]; string(pv.UID) != sick.uid {
			t.Errorf("the disk that was sick before its wipe has another PV, %s %s", pv.Name, pv.Status.Phase)
		}
		if err := n.SetHealth(sick.Serial, vm.Healthy); err != nil {
			t.Fatal(err)
		}
		if health == vm.Failing {
			// A filesystem whose journal an error has ended has forgotten what it did
			// not write, and looks empty. It takes a person to mount it anew.
			n.heard(t, "WARN", sick.path(), "read-only file system")
			n.mountAnew(t, sick)
		}
		if _, err := n.available(t.Context(), sick); err != nil {
			t.Fatal(err)
		}
		if err := together(t.Context(), healthy, n.release); err != nil {
			t.Fatal(err)
		}
	}
	n.settle(t)
	// What is on the disks, and not only in memory.
	if err := n.CutPower(rand.New(rand.NewPCG(0, 0))); err != nil {
		t.Fatal(err)
	}
	n.over(t)
	if err := n.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.setUp(t)
	n.check(t)
}

// mountAnew is what a person does with a filesystem that has become read-only.
func (n *node) mountAnew(t *testing.T, v *volume) {
	t.Helper()
	await(t, "unmounting "+v.path(), func(ctx context.Context) error { // the agent may be looking at it
		_, err := n.Output(ctx, "umount", v.path())
		return err
	})
	n.must(t, "mount", v.path())
}
