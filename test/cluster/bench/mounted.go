package bench

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// The limit of an agent with many carved volumes that pods have mounted, and how
// many of them a pod has: a node takes 110 pods.
const (
	mountedLimit = 48.0 // MiB
	mountedEach  = 50
)

// mounted measures the agent's memory with carved volumes that the kubelet has
// mounted for pods.
func (b *bench) mounted(ctx context.Context, condition string) (figures []Figure, err error) {
	c, err := b.startCarving(ctx, b.member())
	if err != nil {
		return nil, err
	}
	defer func() { err = joinEnd(ctx, err, c) }()
	var claims []*corev1.PersistentVolumeClaim
	var pods []*corev1.Pod
	var names []string
	for i := range b.claims {
		name := fmt.Sprintf("claim-%03d", i)
		claims, names = append(claims, claimOf(name, CarvedNow, pieceBytes)), append(names, name)
		if len(names) == mountedEach || i == b.claims-1 {
			pods, names = append(pods, podOf(fmt.Sprintf("pod-%d", len(pods)), names...)), nil
		}
	}
	if err := c.createClaims(ctx, claims...); err != nil {
		return nil, err
	}
	if _, _, err := c.allBound(ctx); err != nil {
		return nil, err
	}
	if err := c.createPod(ctx, pods...); err != nil {
		return nil, err
	}
	_, err = c.pods.until(ctx, "pods to run", func(all map[string]*corev1.Pod) bool { return count(all, isRunning) == len(pods) })
	if err != nil {
		return nil, c.why(ctx, pods[0].Name, err)
	}
	first, err := b.usage()
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, b.settle); err != nil {
		return nil, err
	}
	settled, err := b.usage()
	if err != nil {
		return nil, err
	}
	b.say("%d carved volumes mounted in %d pods: %.1f MiB resident, at most %.1f before, after %v %.1f, of which %.1f are its own; at most %.1f charged to its group", b.claims, len(pods),
		mib(first.ResidentBytes), mib(settled.PeakBytes), b.settle, mib(settled.ResidentBytes), mib(settled.AnonBytes), mib(settled.GroupPeakBytes))
	values := []float64{mib(settled.ResidentBytes)}
	return []Figure{
		below(fmt.Sprintf("resident memory, %d volumes in %d pods", b.claims, len(pods)), condition, "MiB", values, nil, mountedLimit),
		shown("of it its own memory (RssAnon)", condition, "MiB", []float64{mib(settled.AnonBytes)}, nil),
		shown("the most, while it carved and mounted", condition, "MiB", []float64{mib(settled.PeakBytes)}, nil),
		shown("the most with its commands and caches (cgroup)", condition, "MiB", []float64{mib(settled.GroupPeakBytes)}, nil),
	}, nil
}

// member is the node of the other measurements, as one that carves.
func (b *bench) member() Member { return Member{Node: b.Node, Hand: b.hand, Carver: b.Carver} }
