package bench

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster/bench/hand"
)

// Class is the StorageClass of all volumes. It binds at once, so that claims
// need no pods.
const Class = "bench"

// bareOwner is what the bare client calls itself in the label of its PVs.
const bareOwner = "bench-bare-client"

// breath is a pause before a measurement, until the controllers have again all
// the requests that their limit lets them make at once.
const breath = 3 * time.Second

// makeClass makes the StorageClass.
func (b *bench) makeClass(ctx context.Context) error {
	reclaim, binding := corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingImmediate
	_, err := b.kube.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: Class}, Provisioner: "kubernetes.io/no-provisioner",
		ReclaimPolicy: &reclaim, VolumeBindingMode: &binding,
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making the StorageClass: %w", err)
	}
	return nil
}

func volumeNames(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("disk-%04d", i))
	}
	return names
}

func (b *bench) mountAll(names []string) error {
	_, err := b.hand.Do(hand.Request{Op: hand.Mount, Names: names})
	return err
}

// startAgent starts the agent, by hand.Start or hand.Restart, and returns the
// moment before.
func (b *bench) startAgent(op string) (time.Time, error) {
	a, err := b.hand.Do(hand.Request{Op: op, Args: append(b.Agent, "--state-dir", b.StateDir())})
	if err != nil {
		return time.Time{}, err
	}
	return a.Moments[0], nil
}

func (b *bench) stopAgent() error {
	_, err := b.hand.Do(hand.Request{Op: hand.Stop})
	return err
}

// startReady mounts n volumes, starts the agent and waits until the controllers
// have made all PVs Available.
func (b *bench) startReady(ctx context.Context, v *view, n int) error {
	if err := b.mountAll(volumeNames(n)); err != nil {
		return err
	}
	if _, err := b.startAgent(hand.Start); err != nil {
		return err
	}
	return available(ctx, v, n)
}

func available(ctx context.Context, v *view, n int) error {
	_, err := v.until(ctx, fmt.Sprintf("%d PVs to be Available", n), func(v *view) bool {
		for _, pv := range v.pvs {
			if pv.Status.Phase != corev1.VolumeAvailable {
				return false
			}
		}
		return len(v.pvs) == n
	})
	return err
}

// clear ends the agent and takes away mounts, claims and PVs. After an
// interruption it leaves the API's objects, which go with the cluster.
func (b *bench) clear(ctx context.Context) error {
	err := b.stopAgent()
	_, err2 := b.hand.Do(hand.Request{Op: hand.Unmount, Names: volumeNames(b.volumes + b.mounts)})
	err = errors.Join(err, err2)
	if ctx.Err() != nil {
		return err
	}
	claims := b.kube.CoreV1().PersistentVolumeClaims(metav1.NamespaceDefault)
	err = errors.Join(err, claims.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}))
	return errors.Join(err, b.clearPVs(ctx, b.Node), b.clearPVs(ctx, bareOwner))
}

// clearPVs takes away an owner's PVs with force, and lets the controllers
// catch their breath.
func (b *bench) clearPVs(ctx context.Context, owner string) error {
	v, err := b.look(ctx, owner, nil)
	if err != nil {
		return err
	}
	defer v.close()
	pvs := b.kube.CoreV1().PersistentVolumes()
	err = parallel(ctx, v.names(), func(name string) error {
		err := pvs.Delete(ctx, name, metav1.DeleteOptions{})
		if err == nil {
			_, err = pvs.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting PVs: %w", err)
	}
	if _, err := v.count(ctx, 0); err != nil {
		return err
	}
	return pause(ctx, breath)
}

// pause waits because a measurement needs the time, not for something to happen.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// like returns a PV as the bare client creates it: one of Berth's, under
// another name and owner.
func like(sample *corev1.PersistentVolume, owner string, i int) *corev1.PersistentVolume {
	pv := &corev1.PersistentVolume{Spec: *sample.Spec.DeepCopy()}
	pv.Name = fmt.Sprintf("%s-pv-%08x", owner, i)
	pv.Labels = map[string]string{}
	for k, v := range sample.Labels {
		pv.Labels[k] = v
	}
	pv.Labels[api.LabelNode] = owner
	pv.Annotations = map[string]string{
		api.AnnProvisionedBy: sample.Annotations[api.AnnProvisionedBy],
		api.AnnIdentity:      sample.Annotations[api.AnnIdentity],
	}
	pv.Finalizers = []string{api.Finalizer}
	pv.Spec.ClaimRef = nil
	pv.Spec.Local.Path = path.Join(path.Dir(sample.Spec.Local.Path), fmt.Sprintf("disk-%04d", i))
	return pv
}
