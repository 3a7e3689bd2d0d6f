package bench

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/api"
)

// The storm: so many pods for room for so many on each of two nodes, and how
// soon each pod must run or say why it does not.
const (
	stormPods  = 30
	stormRoom  = 10 // on a node
	stormLimit = 5.0
)

// storm measures more pods at once than two nodes have room for.
func (b *bench) storm(ctx context.Context, condition string) (figures []Figure, err error) {
	other, leave, err := b.join(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = joinErr(err, leave(context.WithoutCancel(ctx))) }()
	c, err := b.startCarving(ctx, b.member(), other)
	if err != nil {
		return nil, err
	}
	defer func() { err = joinEnd(ctx, err, c) }()
	var running, placed, reason, bare, most []float64
	for round := range b.Rounds {
		s, err := c.stormOnce(ctx)
		if err != nil {
			return nil, err
		}
		if err := c.empty(ctx); err != nil {
			return nil, err
		}
		took, err := c.stormBare(ctx)
		if err != nil {
			return nil, err
		}
		if err := c.empty(ctx); err != nil {
			return nil, err
		}
		running, placed, reason = append(running, s.running), append(placed, s.placed), append(reason, s.reason)
		most, bare = append(most, s.most), append(bare, took)
		b.say("storm, round %d of %d: %d on nodes after %.2f s and Running after %.2f s (with emptyDir %.2f s), %d Pending with the reason after %.2f s, at most %.1f %% of a node's room promised",
			round+1, b.Rounds, 2*stormRoom, s.placed, s.running, took, stormPods-2*stormRoom, s.reason, s.most)
	}
	promised := below("  most promised of a node's room", condition, "%", most, nil, 100)
	promised.Strict = false
	return []Figure{
		below(fmt.Sprintf("%d pods, room for %d → %d Running", stormPods, 2*stormRoom, 2*stormRoom), condition, "s", running, bare, stormLimit),
		shown(fmt.Sprintf("%d have volume and node", 2*stormRoom), condition, "s", placed, nil),
		below(fmt.Sprintf("  %d Pending, and say why", stormPods-2*stormRoom), condition, "s", reason, nil, stormLimit),
		promised,
	}, nil
}

type stormed struct {
	placed, running, reason float64 // s
	most                    float64 // % of a node's room
}

func (c *carving) stormOnce(ctx context.Context) (s stormed, err error) {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return s, err
	}
	const mib = 1 << 20
	least := min(rooms[c.members[0].Node], rooms[c.members[1].Node])
	each := least / stormRoom / mib * mib
	if least/each != stormRoom {
		return s, fmt.Errorf("the storm: %d bytes do not fit %d times, and not more often, into %d", each, stormRoom, least)
	}
	var mu sync.Mutex // guards promises
	promises := map[string]map[string]int64{}
	c.pvs.onEach(func(pv *corev1.PersistentVolume, _ time.Time) {
		mu.Lock()
		defer mu.Unlock()
		node := pv.Labels[api.LabelNode]
		if promises[node] == nil {
			promises[node] = map[string]int64{}
		}
		promises[node][pv.Name] = pv.Spec.Capacity.Storage().Value() // none is deleted during the storm
	})
	defer c.pvs.onEach(nil)
	var claims []*corev1.PersistentVolumeClaim
	var pods []*corev1.Pod
	for i := range stormPods {
		name := fmt.Sprintf("storm-%02d", i)
		claims, pods = append(claims, claimOf(name, CarvedLater, each)), append(pods, podOf(name, name))
	}
	begun := time.Now()
	if err := c.createClaims(ctx, claims...); err != nil {
		return s, err
	}
	if err := c.createPod(ctx, pods...); err != nil {
		return s, err
	}
	placed, err := c.pods.until(ctx, "pods to have a node", func(all map[string]*corev1.Pod) bool { return count(all, isAssigned) >= 2*stormRoom })
	if err != nil {
		return s, err
	}
	explained, err := c.pods.until(ctx, "pods to say why they wait", func(all map[string]*corev1.Pod) bool {
		return count(all, lacksRoom) >= stormPods-2*stormRoom && count(all, isAssigned) >= 2*stormRoom
	})
	if err != nil {
		return s, err
	}
	at, err := c.pods.until(ctx, "pods to run", func(all map[string]*corev1.Pod) bool { return count(all, isRunning) >= 2*stormRoom })
	if err != nil {
		return s, err
	}
	s.placed, s.running, s.reason = placed.Sub(begun).Seconds(), at.Sub(begun).Seconds(), explained.Sub(begun).Seconds()
	if err := pause(ctx, breath); err != nil { // more would come now, if it could
		return s, err
	}
	c.pods.mu.Lock()
	defer c.pods.mu.Unlock()
	if n, m := count(c.pods.objects, isRunning), count(c.pods.objects, lacksRoom); n != 2*stormRoom || m != stormPods-2*stormRoom {
		return s, fmt.Errorf("the storm: %d pods run and %d say that there is no room", n, m)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, m := range c.members {
		sum := int64(0)
		for _, bytes := range promises[m.Node] {
			sum += bytes
		}
		s.most = max(s.most, 100*float64(sum)/float64(rooms[m.Node]))
	}
	return s, nil
}

// stormBare is as many pods with an emptyDir as would run.
func (c *carving) stormBare(ctx context.Context) (seconds float64, err error) {
	var pods []*corev1.Pod
	for i := range 2 * stormRoom {
		pods = append(pods, podOf(fmt.Sprintf("calm-%02d", i)))
	}
	begun := time.Now()
	if err := c.createPod(ctx, pods...); err != nil {
		return 0, err
	}
	at, err := c.pods.until(ctx, "pods to run", func(all map[string]*corev1.Pod) bool { return count(all, isRunning) == len(pods) })
	return at.Sub(begun).Seconds(), err
}

func isRunning(p *corev1.Pod) bool  { return p.Status.Phase == corev1.PodRunning }
func isAssigned(p *corev1.Pod) bool { return p.Spec.NodeName != "" }

// lacksRoom reports whether the scheduler says of a pod that no node has room
// for its claim.
func lacksRoom(p *corev1.Pod) bool {
	for _, cond := range p.Status.Conditions {
		if cond.Type == corev1.PodScheduled && cond.Status == corev1.ConditionFalse {
			return p.Spec.NodeName == "" && strings.Contains(cond.Message, "enough free storage")
		}
	}
	return false
}
