//go:build vm

package nodetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/berth-storage/berth/test/vm"
)

// cuts is how often the power goes when nobody says otherwise. With its boot, a
// cut takes about ten seconds.
const cuts = 6

// TestVMAgentPowerCuts cuts a machine's power again and again while its agent
// publishes four disks, and people claim, fill and release them. After each boot
// no PV that anybody may claim holds a secret, and no claim has lost what was
// safely written. In the end all volumes are available.
//
// BERTH_VM_CUTS is how often, BERTH_VM_SEED what chooses the moments and the
// losses. The machine's own timing is beyond a seed.
func TestVMAgentPowerCuts(t *testing.T) {
	cuts, seed := vm.Number(t, "BERTH_VM_CUTS", cuts), vm.Number(t, "BERTH_VM_SEED", uint64(time.Now().UnixNano()))
	t.Logf("BERTH_VM_SEED=%d BERTH_VM_CUTS=%d", seed, cuts)
	r := rand.New(rand.NewPCG(seed, 0))
	// Loading xfs makes each boot longer by a quarter.
	b := []*volume{ext4Volume("EXT4-B"), xfsVolume("XFS-B")}[r.IntN(2)]
	n := boot(t, 8, ext4Volume("EXT4-A"), b, rawVolume("RAW-C"), rawVolume("RAW-D"))
	last, at, steps := map[string]string{}, map[string]int{}, 0
	for range cuts {
		n.start(t)
		ctx, stop := context.WithCancelCause(t.Context())
		made := make(chan [2]string)
		var users sync.WaitGroup
		for _, v := range n.volumes {
			dice := rand.New(rand.NewPCG(r.Uint64(), 0))
			users.Go(func() {
				if err := n.use(ctx, v, dice, made); err != nil && !errors.Is(err, vm.ErrOff) && ctx.Err() == nil {
					stop(fmt.Errorf("%s: %w", v.Serial, err))
				}
			})
		}
		// So many steps of volumes, and then at any moment.
		for range r.IntN(12) {
			select {
			case step := <-made:
				last[step[0]] = step[1]
				steps++
			case err := <-n.ended:
				t.Fatalf("the agent ended: %v\n%s", err, n.said.tail(40))
			case <-ctx.Done():
				t.Fatal(context.Cause(ctx))
			}
		}
		<-time.After(time.Duration(r.IntN(500)) * time.Millisecond)
		if err := n.CutPower(r); err != nil {
			t.Fatal(err)
		}
		stop(nil)
		users.Wait()
		n.over(t)
		for _, v := range n.volumes {
			at[last[v.Serial]]++
		}
		if err := n.Reboot(t.Context(), n.order(r)...); err != nil {
			t.Fatal(err)
		}
		n.setUp(t)
		n.check(t)
	}
	n.start(t)
	n.settle(t)
	t.Logf("%d cuts, %d steps; the power went when these were the volumes' last: %v", cuts, steps, at)
}

// order is the machine's disks in their order, or now and then in another.
func (n *node) order(r *rand.Rand) []string {
	if r.IntN(3) > 0 {
		return nil
	}
	serials := []string{journalDisk}
	for _, v := range n.volumes {
		serials = append(serials, v.Serial)
	}
	r.Shuffle(len(serials), func(i, j int) { serials[i], serials[j] = serials[j], serials[i] })
	return serials
}

// use lives through a volume's life again and again, from where it is, and tells
// of each step.
func (n *node) use(ctx context.Context, v *volume, r *rand.Rand, made chan<- [2]string) error {
	tell := func(step string) {
		select {
		case made <- [2]string{v.Serial, step}:
		case <-ctx.Done():
		}
	}
	for ctx.Err() == nil {
		if err := n.bind(ctx, v); err != nil {
			return err
		}
		tell(bound)
		if err := n.write(ctx, v, r.IntN(3) > 0); err != nil {
			return err
		}
		tell(written)
		if err := n.release(ctx, v); err != nil {
			return err
		}
		tell(released)
		if _, err := n.available(ctx, v); err != nil {
			return err
		}
		tell(clean)
	}
	return nil
}
