package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/berth-storage/berth/test/cluster/bench/hand"
)

// release measures volumes that claims had, from the deletion of the claims to
// the last new PV that is Available.
func (b *bench) release(ctx context.Context, condition string) ([]Figure, error) {
	name := fmt.Sprintf("%d volumes released → %d new Available PVs", b.releases, b.releases)
	ours, err := b.look(ctx, b.Node, nil)
	if err != nil {
		return nil, err
	}
	defer ours.close()
	if err := b.startReady(ctx, ours, b.releases); err != nil {
		return nil, err
	}
	r := &recycler{b: b, sample: ours.any(), deleting: map[string]bool{}, index: map[string]int{}}
	theirs, err := b.look(ctx, bareOwner, func(e watch.EventType, pv *corev1.PersistentVolume) { r.see(ctx, e, pv) })
	if err != nil {
		return nil, err
	}
	defer theirs.close()
	var pvs []*corev1.PersistentVolume
	for i := range b.releases {
		pvs = append(pvs, r.pv(i))
		r.index[pvs[i].Name] = i
	}
	if err := b.create(ctx, pvs); err != nil {
		return nil, err
	}
	if err := available(ctx, theirs, b.releases); err != nil {
		return nil, err
	}
	var berth, bare []float64
	for round := range b.Rounds {
		took, err := b.releaseBerth(ctx, ours)
		if err != nil {
			return nil, err
		}
		berth = append(berth, took)
		if took, err = b.releaseOnce(ctx, theirs, nil); err != nil {
			return nil, errors.Join(err, r.wait())
		}
		bare = append(bare, took)
		b.say("%s, %s, round %d of %d: Berth %.2f s, bare client %.2f s", name, condition, round+1, b.Rounds, berth[round], bare[round])
	}
	return []Figure{compared(name, condition, berth, bare, releaseRatio)}, nil
}

// releaseBerth is one round with volumes that have files in them, and makes
// sure that they are empty in the end.
func (b *bench) releaseBerth(ctx context.Context, v *view) (seconds float64, err error) {
	names := volumeNames(b.releases)
	took, err := b.releaseOnce(ctx, v, func() error {
		_, err := b.hand.Do(hand.Request{Op: hand.Fill, Names: names})
		return err
	})
	if err != nil {
		return 0, err
	}
	a, err := b.hand.Do(hand.Request{Op: hand.Full, Names: names})
	if err == nil && len(a.Names) > 0 {
		err = fmt.Errorf("wiping: volumes are Available that are not empty: %q", a.Names)
	}
	return took, err
}

// releaseOnce has all PVs of a view claimed, uses them, deletes the claims, and
// waits for as many new PVs.
func (b *bench) releaseOnce(ctx context.Context, v *view, use func() error) (seconds float64, err error) {
	old := map[types.UID]bool{}
	v.mu.Lock()
	for _, pv := range v.pvs {
		old[pv.UID] = true
	}
	v.mu.Unlock()
	names := v.names()
	claims := b.kube.CoreV1().PersistentVolumeClaims(metav1.NamespaceDefault)
	err = parallel(ctx, names, func(pv string) error {
		_, err := claims.Create(ctx, claimFor(pv), metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("creating claims: %w", err)
	}
	_, err = v.until(ctx, "claims to bind", func(v *view) bool {
		for _, pv := range v.pvs {
			if pv.Status.Phase != corev1.VolumeBound {
				return false
			}
		}
		return true
	})
	if err != nil {
		return 0, err
	}
	if use != nil {
		if err := use(); err != nil {
			return 0, err
		}
	}
	if err := pause(ctx, breath); err != nil {
		return 0, err
	}
	begun := time.Now()
	err = parallel(ctx, names, func(pv string) error {
		return claims.Delete(ctx, claimFor(pv).Name, metav1.DeleteOptions{})
	})
	if err != nil {
		return 0, fmt.Errorf("deleting claims: %w", err)
	}
	at, err := v.until(ctx, "new PVs", func(v *view) bool {
		for _, pv := range v.pvs {
			if old[pv.UID] || pv.Status.Phase != corev1.VolumeAvailable {
				return false
			}
		}
		return len(v.pvs) == len(names)
	})
	return at.Sub(begun).Seconds(), err
}

func claimFor(pv string) *corev1.PersistentVolumeClaim {
	class := Class
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "claim-" + pv},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: &class, VolumeName: pv,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}},
		},
	}
}
