package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster/bench/hand"
)

// Limits of many claims at once.
const (
	claimsRatio = 2.0
	claimsRate  = 60.0 // a second
)

// bindClaims measures claims that come at once, which bind without pods, against
// a bare client that makes the same objects: it labels each claim and makes its
// PV. Both wait until the controller manager has bound them all. To the bare
// client's time comes the kernel's for as many subvolumes with a limit.
func (b *bench) bindClaims(ctx context.Context, condition string) (figures []Figure, err error) {
	c, err := b.startCarving(ctx, b.member())
	if err != nil {
		return nil, err
	}
	defer func() { err = joinEnd(ctx, err, c) }()
	var berth, made, bare, written, kernel, limit, rate, bareRate []float64
	for round := range b.Rounds {
		volumes, bound, sample, err := c.bindBerth(ctx)
		if err != nil {
			return nil, err
		}
		if err := c.empty(ctx); err != nil {
			return nil, err
		}
		writes, bareBound, err := c.bindBare(ctx, sample)
		if err != nil {
			return nil, err
		}
		a, err := b.hand.Do(hand.Request{Op: hand.Carve, Count: b.claims})
		if err != nil {
			return nil, err
		}
		berth, made, bare, written, kernel = append(berth, bound), append(made, volumes), append(bare, bareBound), append(written, writes), append(kernel, a.Took.Seconds())
		limit, rate, bareRate = append(limit, bareBound+a.Took.Seconds()), append(rate, float64(b.claims)/bound), append(bareRate, float64(b.claims)/bareBound)
		b.say("%d claims at once, round %d of %d: Berth %.2f s (%.2f s until the last PV), bare client %.2f s (%.2f s until its last write), the kernel %.2f s",
			b.claims, round+1, b.Rounds, bound, volumes, bareBound, writes, a.Took.Seconds())
	}
	name := fmt.Sprintf("%d claims at once → all Bound", b.claims)
	return []Figure{
		compared(name+" (bare + kernel)", condition, berth, limit, claimsRatio),
		atLeast("  claims bound a second", condition, "/s", rate, bareRate, claimsRate),
		shown("until the last PV is there, the last write", condition, "s", made, written),
		shown("the bare client alone, until Bound", condition, "s", bare, nil),
		shown("the kernel alone: subvolumes with a limit", condition, "s", kernel, nil),
	}, nil
}

// bindBerth makes claims and waits until they are bound. It returns one of the
// PVs.
func (c *carving) bindBerth(ctx context.Context) (volumes, bound float64, sample *corev1.PersistentVolume, err error) {
	var claims []*corev1.PersistentVolumeClaim
	for i := range c.bench.claims {
		claims = append(claims, claimOf(fmt.Sprintf("claim-%03d", i), CarvedNow, pieceBytes))
	}
	begun := time.Now()
	if err := c.createClaims(ctx, claims...); err != nil {
		return 0, 0, nil, err
	}
	there, at, err := c.allBound(ctx)
	c.pvs.mu.Lock()
	defer c.pvs.mu.Unlock()
	for _, pv := range c.pvs.objects {
		sample = pv
		break
	}
	return there.Sub(begun).Seconds(), at.Sub(begun).Seconds(), sample, err
}

// allBound waits until there are all PVs, and until all claims are bound.
func (c *carving) allBound(ctx context.Context) (there, bound time.Time, err error) {
	there, err = c.pvs.until(ctx, "all PVs", func(all map[string]*corev1.PersistentVolume) bool { return len(all) == c.bench.claims })
	if err != nil {
		return there, bound, err
	}
	bound, err = c.claims.until(ctx, "all claims to be bound", func(all map[string]*corev1.PersistentVolumeClaim) bool {
		return count(all, isBound) == c.bench.claims
	})
	return there, bound, err
}

func isBound(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Status.Phase == corev1.ClaimBound
}

// bindBare is the bare client: claims, each then labelled and given a PV like
// Berth's, which nobody stands behind. It takes them away again.
func (c *carving) bindBare(ctx context.Context, sample *corev1.PersistentVolume) (written, bound float64, err error) {
	var claims []*corev1.PersistentVolumeClaim
	for i := range c.bench.claims {
		claims = append(claims, claimOf(fmt.Sprintf("claim-%03d", i), BareCarved, pieceBytes))
	}
	label, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]string{api.LabelNode: bareOwner}}})
	if err != nil {
		return 0, 0, err
	}
	core := c.kube.CoreV1()
	begun := time.Now()
	err = parallel(ctx, claims, func(claim *corev1.PersistentVolumeClaim) error {
		made, err := core.PersistentVolumeClaims(space).Create(ctx, claim, metav1.CreateOptions{})
		if err == nil {
			made, err = core.PersistentVolumeClaims(space).Patch(ctx, claim.Name, types.MergePatchType, label, metav1.PatchOptions{})
		}
		if err == nil {
			_, err = core.PersistentVolumes().Create(ctx, bareCarved(sample, made), metav1.CreateOptions{})
		}
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("making the bare client's objects: %w", err)
	}
	written = time.Since(begun).Seconds()
	_, at, err := c.allBound(ctx)
	if err != nil {
		return 0, 0, err
	}
	// Nobody stands behind these, so they go with force.
	err = core.PersistentVolumeClaims(space).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	if err != nil {
		return 0, 0, fmt.Errorf("deleting the bare client's claims: %w", err)
	}
	if err := c.claims.none(ctx); err != nil {
		return 0, 0, err
	}
	return written, at.Sub(begun).Seconds(), c.clearPVs(ctx, bareOwner)
}

// bareCarved is a PV as the agent makes it, for another claim.
func bareCarved(sample *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	pv := &corev1.PersistentVolume{Spec: *sample.Spec.DeepCopy()}
	pv.Name = "pvc-" + string(claim.UID)
	pv.Labels, pv.Annotations, pv.Finalizers = map[string]string{api.LabelNode: bareOwner}, sample.Annotations, []string{api.Finalizer}
	pv.Spec.StorageClassName = BareCarved
	pv.Spec.ClaimRef = &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID}
	return pv
}
