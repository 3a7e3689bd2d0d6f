package bench

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
)

// The StorageClasses of carved volumes. Pods that wait for a claim of CarvedLater
// are placed by the room on the nodes; a claim of CarvedNow gets its volume
// before a pod asks for it. The other two are of the bare client.
const (
	CarvedLater = "bench-carved"
	CarvedNow   = "bench-carved-now"
	BareCarved  = "bench-bare"
	BareLater   = "bench-bare-later"
)

// pieceBytes is what most claims ask for.
const pieceBytes = 16 << 20

// makeCarvedClasses makes the StorageClasses, and the object by which the
// scheduler knows that the driver tells of its room, as Berth's chart has it.
func (b *bench) makeCarvedClasses(ctx context.Context) error {
	no, yes, group := false, true, storagev1.FileFSGroupPolicy
	_, err := b.kube.StorageV1().CSIDrivers().Create(ctx, &storagev1.CSIDriver{
		ObjectMeta: metav1.ObjectMeta{Name: api.Driver},
		Spec: storagev1.CSIDriverSpec{AttachRequired: &no, PodInfoOnMount: &no, StorageCapacity: &yes, FSGroupPolicy: &group, SELinuxMount: &no,
			VolumeLifecycleModes: []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent}},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making the CSIDriver: %w", err)
	}
	for name, of := range map[string]struct {
		provisioner string
		binding     storagev1.VolumeBindingMode
	}{
		CarvedLater: {api.Driver, storagev1.VolumeBindingWaitForFirstConsumer},
		CarvedNow:   {api.Driver, storagev1.VolumeBindingImmediate},
		BareLater:   {"bench/bare", storagev1.VolumeBindingWaitForFirstConsumer},
		BareCarved:  {"bench/bare", storagev1.VolumeBindingImmediate},
	} {
		reclaim := corev1.PersistentVolumeReclaimDelete
		_, err := b.kube.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: of.provisioner, ReclaimPolicy: &reclaim, VolumeBindingMode: &of.binding,
		}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("making the StorageClass: %w", err)
		}
	}
	return nil
}

// claimOf is a claim of a class.
func claimOf(name, class string, bytes int64) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: &class,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(bytes, resource.BinarySI)}},
		},
	}
}

func (b *bench) createClaims(ctx context.Context, claims ...*corev1.PersistentVolumeClaim) error {
	err := parallel(ctx, claims, func(claim *corev1.PersistentVolumeClaim) error {
		_, err := b.kube.CoreV1().PersistentVolumeClaims(space).Create(ctx, claim, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("making claims: %w", err)
	}
	return nil
}

// boundTo is the name of a claim's PV.
func (b *bench) boundTo(ctx context.Context, claim string) (pv string, err error) {
	o, err := b.kube.CoreV1().PersistentVolumeClaims(space).Get(ctx, claim, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading claim %s: %w", claim, err)
	}
	return o.Spec.VolumeName, nil
}
