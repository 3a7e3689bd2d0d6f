package bench

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/test/cluster/bench/hand"
)

// otherNodes is how many nodes the PVs of others are spread over.
const otherNodes = 40

// memory measures what an agent uses that has nothing to do, and what PVs of
// other nodes add to it. The PVs of the others stay: they go with the cluster.
func (b *bench) memory(ctx context.Context, condition string) ([]Figure, error) {
	v, err := b.look(ctx, b.Node, nil)
	if err != nil {
		return nil, err
	}
	defer v.close()
	b.say("memory: starting the agent with %d volumes, and letting it settle for %v", b.volumes, b.settle)
	if err := b.startReady(ctx, v, b.volumes); err != nil {
		return nil, err
	}
	sample := v.any()
	if err := pause(ctx, b.settle); err != nil {
		return nil, err
	}
	settled, err := b.usage()
	if err != nil {
		return nil, err
	}
	b.say("memory: %.1f MiB resident, of which %.1f are its own; now idle for %v", mib(settled.ResidentBytes), mib(settled.AnonBytes), b.idle)
	begun := time.Now()
	if err := pause(ctx, b.idle); err != nil {
		return nil, err
	}
	idle, err := b.usage()
	if err != nil {
		return nil, err
	}
	cpu := 100 * float64(idle.CPU-settled.CPU) / float64(time.Since(begun))
	b.say("memory: %.3f %% of a core while idle; now %d PVs of other nodes", cpu, b.others)
	if err := b.createOthers(ctx, sample); err != nil {
		return nil, err
	}
	if err := pause(ctx, b.settle); err != nil {
		return nil, err
	}
	after, err := b.usage()
	if err != nil {
		return nil, err
	}
	with := fmt.Sprintf("with %d volumes", b.volumes)
	own := below("  of it its own memory (RssAnon)", condition, "MiB", []float64{mib(settled.AnonBytes)}, nil, 0)
	own.Limit = nil
	return []Figure{
		below("resident memory (VmRSS) "+with, condition, "MiB", []float64{mib(settled.ResidentBytes)}, nil, memoryLimit),
		own,
		below(fmt.Sprintf("its growth with %d PVs of other nodes", b.others), condition, "MiB",
			[]float64{mib(after.ResidentBytes - idle.ResidentBytes)}, nil, growthLimit),
		below(fmt.Sprintf("idle CPU %s, over %v", with, b.idle), condition, "%", []float64{cpu}, nil, idleLimit),
	}, nil
}

func (b *bench) usage() (hand.Resources, error) {
	a, err := b.hand.Do(hand.Request{Op: hand.Usage})
	return a.Usage, err
}

func (b *bench) createOthers(ctx context.Context, sample *corev1.PersistentVolume) error {
	const chunk = 2000 // between words of progress
	for from := 0; from < b.others; from += chunk {
		var pvs []*corev1.PersistentVolume
		for i := from; i < min(from+chunk, b.others); i++ {
			pvs = append(pvs, like(sample, fmt.Sprintf("other-%02d", i%otherNodes), i))
		}
		if err := b.create(ctx, pvs); err != nil {
			return err
		}
		b.say("memory: %d of %d PVs of other nodes", from+len(pvs), b.others)
	}
	return nil
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
