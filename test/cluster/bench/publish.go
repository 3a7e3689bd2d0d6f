package bench

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/test/cluster/bench/hand"
)

// Limits, from the issue that asks for the figures.
const (
	publishRatio = 1.5
	releaseRatio = 1.5
	mountP50     = 50.0  // ms
	mountP99     = 150.0 // ms
	adoptLimit   = 2.0   // s
	memoryLimit  = 32.0  // MiB
	growthLimit  = 2.0   // MiB
	idleLimit    = 0.1   // % of a core
)

// publish measures an agent that starts on a node with mounts, up to the moment
// when a watch has shown their last PV.
func (b *bench) publish(ctx context.Context, condition string) ([]Figure, error) {
	name := fmt.Sprintf("%d mounts at start → %d PVs", b.volumes, b.volumes)
	if err := b.mountAll(volumeNames(b.volumes)); err != nil {
		return nil, err
	}
	var berth, bare []float64
	for round := range b.Rounds {
		took, sample, err := b.publishOnce(ctx)
		if err != nil {
			return nil, err
		}
		berth = append(berth, took)
		if took, err = b.createBare(ctx, sample, b.volumes); err != nil {
			return nil, err
		}
		bare = append(bare, took)
		if err := b.clearPVs(ctx, bareOwner); err != nil {
			return nil, err
		}
		b.say("%s, %s, round %d of %d: Berth %.2f s, bare client %.2f s", name, condition, round+1, b.Rounds, berth[round], bare[round])
	}
	return []Figure{compared(name, condition, berth, bare, publishRatio)}, nil
}

// publishOnce is one start of the agent. It returns one of the PVs, and leaves
// none.
func (b *bench) publishOnce(ctx context.Context) (seconds float64, sample *corev1.PersistentVolume, err error) {
	v, err := b.look(ctx, b.Node, nil)
	if err != nil {
		return 0, nil, err
	}
	defer v.close()
	begun, err := b.startAgent(hand.Start)
	if err != nil {
		return 0, nil, err
	}
	at, err := v.count(ctx, b.volumes)
	if err != nil {
		return 0, nil, err
	}
	sample = v.any()
	if err := b.stopAgent(); err != nil {
		return 0, nil, err
	}
	return at.Sub(begun).Seconds(), sample, b.clearPVs(ctx, b.Node)
}

// any returns one of the PVs, which must not be changed.
func (v *view) any() *corev1.PersistentVolume {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, pv := range v.pvs {
		return pv
	}
	return nil
}

// mount measures how long after a mount its PV is there. A mount and a bare
// creation take turns, so that both meet the same API server.
func (b *bench) mount(ctx context.Context, condition string) ([]Figure, error) {
	var p50, p99, bare50, bare99 []float64
	for round := range b.Rounds {
		berth, bare, err := b.mountOnce(ctx)
		if err != nil {
			return nil, err
		}
		p50, p99 = append(p50, percentile(berth, 50)), append(p99, percentile(berth, 99))
		bare50, bare99 = append(bare50, percentile(bare, 50)), append(bare99, percentile(bare, 99))
		b.say("a mount → its PV, %s, round %d of %d: Berth p50 %.1f ms, p99 %.1f ms, bare client p50 %.1f ms, p99 %.1f ms",
			condition, round+1, b.Rounds, p50[round], p99[round], bare50[round], bare99[round])
		if err := b.clear(ctx); err != nil {
			return nil, err
		}
	}
	name := fmt.Sprintf("a new mount → its PV, over %d mounts", b.mounts)
	return []Figure{
		below(name+", p50", condition, "ms", p50, bare50, mountP50),
		below(name+", p99", condition, "ms", p99, bare99, mountP99),
	}, nil
}

// mountOnce returns the milliseconds of each mount, and of each bare creation.
func (b *bench) mountOnce(ctx context.Context) (berth, bare []float64, err error) {
	ours, err := b.look(ctx, b.Node, nil)
	if err != nil {
		return nil, nil, err
	}
	defer ours.close()
	theirs, err := b.look(ctx, bareOwner, nil)
	if err != nil {
		return nil, nil, err
	}
	defer theirs.close()
	names := volumeNames(b.mounts + 1)
	if err := b.startReady(ctx, ours, 1); err != nil { // one to begin with, so that the agent is known to be at work
		return nil, nil, err
	}
	sample := ours.any()
	for i, name := range names[1:] {
		a, err := b.hand.Do(hand.Request{Op: hand.Mount, Names: []string{name}})
		if err != nil {
			return nil, nil, err
		}
		at, err := ours.count(ctx, i+2)
		if err != nil {
			return nil, nil, err
		}
		berth = append(berth, milliseconds(at.Sub(a.Moments[0])))

		begun := time.Now()
		if err := b.create(ctx, []*corev1.PersistentVolume{like(sample, bareOwner, i)}); err != nil {
			return nil, nil, err
		}
		if at, err = theirs.count(ctx, i+1); err != nil {
			return nil, nil, err
		}
		bare = append(bare, milliseconds(at.Sub(begun)))
	}
	return berth, bare, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
