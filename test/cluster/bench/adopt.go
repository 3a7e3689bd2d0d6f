package bench

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster/bench/hand"
)

// nobody owns PVs without a node's label, as the established static provisioner
// makes them.
const nobody = ""

// adopt measures an agent that starts on a node whose PVs the established
// provisioner made, up to the moment when it says that it is ready; and what a
// second start, when nothing has changed, writes to the API.
func (b *bench) adopt(ctx context.Context, condition string) ([]Figure, error) {
	if err := b.mountAll(volumeNames(b.volumes)); err != nil {
		return nil, err
	}
	var first, second, writes []float64
	for round := range b.Rounds {
		if err := b.makeOld(ctx); err != nil {
			return nil, err
		}
		took, again, written, err := b.adoptOnce(ctx)
		if err != nil {
			return nil, err
		}
		first, second, writes = append(first, took), append(second, again), append(writes, written)
		if err := b.clearPVs(ctx, b.Node); err != nil {
			return nil, err
		}
		b.say("%d PVs from before at start, %s, round %d of %d: settled after %.2f s; a second start after %.2f s, %.0f PVs written",
			b.volumes, condition, round+1, b.Rounds, took, again, written)
	}
	name := fmt.Sprintf("%d PVs from before at start → settled", b.volumes)
	unchanged := below("  PVs written at a second start", condition, "", writes, nil, 0)
	unchanged.Strict = false
	return []Figure{
		below(name, condition, "s", first, nil, adoptLimit),
		below("  a second start → settled", condition, "s", second, nil, adoptLimit),
		unchanged,
	}, nil
}

// makeOld makes the PVs that the agent would publish as if the established
// provisioner had made them: without label, identity and finalizer.
func (b *bench) makeOld(ctx context.Context) error {
	v, err := b.look(ctx, b.Node, nil)
	if err != nil {
		return err
	}
	defer v.close()
	if _, err := b.startAgent(hand.Start); err != nil {
		return err
	}
	if _, err := v.count(ctx, b.volumes); err != nil {
		return err
	}
	var old []*corev1.PersistentVolume
	for _, pv := range v.all() {
		n := &corev1.PersistentVolume{Spec: *pv.Spec.DeepCopy()}
		n.Name, n.Spec.ClaimRef = pv.Name, nil
		n.Annotations = map[string]string{api.AnnProvisionedBy: pv.Annotations[api.AnnProvisionedBy]}
		old = append(old, n)
	}
	if err := b.stopAgent(); err != nil {
		return err
	}
	if err := b.clearPVs(ctx, b.Node); err != nil {
		return err
	}
	unlabelled, err := b.look(ctx, nobody, nil)
	if err != nil {
		return err
	}
	defer unlabelled.close()
	if err := b.create(ctx, old); err != nil {
		return err
	}
	if err := available(ctx, unlabelled, b.volumes); err != nil {
		return err
	}
	return pause(ctx, breath)
}

// adoptOnce starts the agent without a past, and then once more with one.
func (b *bench) adoptOnce(ctx context.Context) (first, second, written float64, err error) {
	v, err := b.look(ctx, b.Node, nil)
	if err != nil {
		return 0, 0, 0, err
	}
	defer v.close()
	if first, err = b.startUntilReady(hand.Start); err != nil {
		return 0, 0, 0, err
	}
	if _, err := v.count(ctx, b.volumes); err != nil {
		return 0, 0, 0, err
	}
	if err := pause(ctx, breath); err != nil {
		return 0, 0, 0, err
	}
	before := v.versions()
	if second, err = b.startUntilReady(hand.Restart); err != nil {
		return 0, 0, 0, err
	}
	if err := pause(ctx, breath); err != nil {
		return 0, 0, 0, err
	}
	for name, version := range v.versions() {
		if before[name] != version {
			written++
		}
	}
	return first, second, written, b.stopAgent()
}

func (b *bench) startUntilReady(op string) (seconds float64, err error) {
	begun, err := b.startAgent(op)
	if err != nil {
		return 0, err
	}
	a, err := b.hand.Do(hand.Request{Op: hand.Ready, Args: []string{b.ReadyURL}})
	if err != nil {
		return 0, err
	}
	return a.Moments[0].Sub(begun).Seconds(), nil
}

// all returns the PVs, which must not be changed.
func (v *view) all() (pvs []*corev1.PersistentVolume) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, pv := range v.pvs {
		pvs = append(pvs, pv)
	}
	return pvs
}

// versions are the resource versions of the PVs, by name.
func (v *view) versions() map[string]string {
	versions := map[string]string{}
	for _, pv := range v.all() {
		versions[pv.Name] = pv.ResourceVersion
	}
	return versions
}
