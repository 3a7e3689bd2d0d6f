package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster/bench/hand"
)

// poolBytes is the size of a pool's filesystem, in a sparse file.
const poolBytes = 16 << 30

// space is the namespace of all objects.
const space = metav1.NamespaceDefault

// Member is a node that carves volumes.
type Member struct {
	Node string
	Hand *hand.Hand
	// Carver is the agent's command line up to the state directory, with the
	// pool at the hand's PoolDir.
	Carver []string
}

// carving is what a measurement of carved volumes works with: agents with empty
// pools on some nodes, and a controller that places claims.
type carving struct {
	*bench
	members []Member
	pods    *track[*corev1.Pod]
	claims  *track[*corev1.PersistentVolumeClaim]
	pvs     *track[*corev1.PersistentVolume]
}

// startCarving gives the nodes empty pools and agents, and waits until the
// scheduler knows of their room. The caller ends it.
func (b *bench) startCarving(ctx context.Context, members ...Member) (c *carving, err error) {
	return b.carveFrom(ctx, hand.Request{Op: hand.Pool, Bytes: poolBytes}, members...)
}

// carveFrom is startCarving with pools made in a certain way.
func (b *bench) carveFrom(ctx context.Context, pool hand.Request, members ...Member) (c *carving, err error) {
	c = &carving{bench: b, members: members}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.end(ctx))
		}
	}()
	if err := b.makeCarvedClasses(ctx); err != nil {
		return c, err
	}
	for _, m := range members {
		if _, err := m.Hand.Do(pool); err != nil {
			return c, err
		}
		if _, err := m.Hand.Do(hand.Request{Op: hand.Start, Args: append(m.Carver, "--state-dir", m.Hand.StateDir())}); err != nil {
			return c, err
		}
	}
	if _, err := b.hand.Do(hand.Request{Op: hand.Placer, Args: b.Placer}); err != nil {
		return c, err
	}
	core := b.kube.CoreV1()
	if c.pods, err = newTrack(ctx, "pods", core.Pods(space).Watch, core.Pods(space).List, podItems); err != nil {
		return c, err
	}
	if c.claims, err = newTrack(ctx, "claims", core.PersistentVolumeClaims(space).Watch, core.PersistentVolumeClaims(space).List, claimItems); err != nil {
		return c, err
	}
	if c.pvs, err = newTrack(ctx, "PVs", core.PersistentVolumes().Watch, core.PersistentVolumes().List, pvItems); err != nil {
		return c, err
	}
	return c, b.await(ctx, "the scheduler to know of the pools", func() error { return c.ready(ctx) })
}

// ready is an error until the scheduler knows of all room, and the kubelets of
// the driver.
func (c *carving) ready(ctx context.Context) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	for _, m := range c.members {
		if rooms[m.Node] == 0 {
			return fmt.Errorf("node %s has no room", m.Node)
		}
		node, err := c.kube.StorageV1().CSINodes().Get(ctx, m.Node, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the node's drivers: %w", err)
		}
		if len(node.Spec.Drivers) == 0 {
			return fmt.Errorf("the kubelet of %s does not know the driver", m.Node)
		}
	}
	return nil
}

// rooms is what the scheduler knows to be free for CarvedLater, by node.
func (c *carving) rooms(ctx context.Context) (map[string]int64, error) {
	list, err := c.kube.StorageV1().CSIStorageCapacities(space).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the storage capacity: %w", err)
	}
	rooms := map[string]int64{}
	for _, o := range list.Items {
		if o.StorageClassName == CarvedLater && o.Capacity != nil {
			rooms[o.Labels[api.LabelNode]] = o.Capacity.Value()
		}
	}
	return rooms, nil
}

// empty deletes all pods and claims, and waits until Berth has removed the
// volumes.
func (c *carving) empty(ctx context.Context) error {
	all, grace := metav1.ListOptions{}, int64(0)
	err := c.kube.CoreV1().Pods(space).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &grace}, all)
	err = errors.Join(err, c.kube.CoreV1().PersistentVolumeClaims(space).DeleteCollection(ctx, metav1.DeleteOptions{}, all))
	if err != nil {
		return fmt.Errorf("deleting pods and claims: %w", err)
	}
	if err := c.pods.none(ctx); err != nil {
		return err
	}
	if err := c.claims.none(ctx); err != nil {
		return err
	}
	if err := c.pvs.none(ctx); err != nil {
		return err
	}
	return pause(ctx, breath)
}

// join brings another node in.
func (b *bench) join(ctx context.Context) (m Member, leave func(context.Context) error, err error) {
	n, away, err := b.Join(ctx)
	if err != nil {
		return m, nil, err
	}
	h, err := hand.Run(n.Hand, n.Place)
	if err != nil {
		return m, nil, errors.Join(err, away(ctx))
	}
	return Member{Node: n.Node, Hand: h, Carver: n.Carver}, func(ctx context.Context) error { return errors.Join(h.Close(), away(ctx)) }, nil
}

// joinEnd is the deferred end of a measurement that had err.
func joinEnd(ctx context.Context, err error, c *carving) error { return joinErr(err, c.end(ctx)) }

func joinErr(err, end error) error {
	if end == nil {
		return err
	}
	return errors.Join(err, end)
}

// end takes everything away again. After an interruption it leaves the API's
// objects, which go with the cluster.
func (c *carving) end(ctx context.Context) error {
	var err error
	if c.pods != nil && c.claims != nil && c.pvs != nil {
		if ctx.Err() == nil {
			err = c.empty(ctx)
		}
		c.pods.close()
		c.claims.close()
		c.pvs.close()
	}
	for _, m := range c.members {
		for _, op := range []string{hand.Stop, hand.Unpool} {
			_, failed := m.Hand.Do(hand.Request{Op: op})
			err = errors.Join(err, failed)
		}
	}
	if ctx.Err() != nil {
		return err
	}
	return errors.Join(err, c.clearPVs(ctx, c.Node))
}

// await asks ten times a second until done returns nil. It is for what comes
// before a measurement.
func (b *bench) await(ctx context.Context, what string, done func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := done()
		if err == nil {
			return nil
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
	}
}
