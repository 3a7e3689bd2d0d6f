//go:build vm

package nodetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/berth-storage/berth/internal/publish"
)

// kube is the user's and the administrator's client.
type kube struct{ core, storage rest.Interface }

func newKube(t *testing.T) kube {
	t.Helper()
	scheme := runtime.NewScheme()
	var k kube
	err := errors.Join(corev1.AddToScheme(scheme), storagev1.AddToScheme(scheme))
	if err == nil {
		k.core, err = publish.REST(outside.kube, scheme, corev1.SchemeGroupVersion)
	}
	if err == nil {
		k.storage, err = publish.REST(outside.kube, scheme, storagev1.SchemeGroupVersion)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// register makes the object of the node and its StorageClasses, which are there
// for one test.
func (k kube) register(t *testing.T, node string, classes ...string) {
	t.Helper()
	create := func(c rest.Interface, kind, name string, o runtime.Object) {
		if err := c.Post().Resource(kind).Body(o).Do(t.Context()).Error(); err != nil {
			t.Fatalf("making %s %s: %v", kind, name, err)
		}
		t.Cleanup(func() {
			if err := c.Delete().Resource(kind).Name(name).Do(context.Background()).Error(); err != nil {
				t.Errorf("deleting %s %s: %v", kind, name, err)
			}
		})
	}
	t.Cleanup(func() { k.clear(t) })
	create(k.core, "nodes", node, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node, Labels: map[string]string{corev1.LabelHostname: node}}})
	// Without pods nobody is there to be waited for.
	policy, mode := corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingImmediate
	for _, c := range classes {
		create(k.storage, "storageclasses", c, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: c},
			Provisioner: "kubernetes.io/no-provisioner", ReclaimPolicy: &policy, VolumeBindingMode: &mode})
	}
}

// clear takes all claims and PVs away. The agent that would is gone.
func (k kube) clear(t *testing.T) {
	ctx := context.Background()
	err := k.core.Delete().Namespace(namespace).Resource("persistentvolumeclaims").Do(ctx).Error()
	pvs, listErr := k.pvs(ctx)
	err = errors.Join(err, listErr, k.core.Delete().Resource("persistentvolumes").Do(ctx).Error())
	for _, pv := range pvs {
		letGo := k.core.Patch(types.MergePatchType).Resource("persistentvolumes").Name(pv.Name).Body([]byte(`{"metadata":{"finalizers":null}}`)).Do(ctx).Error()
		if !apierrors.IsNotFound(letGo) {
			err = errors.Join(err, letGo)
		}
	}
	if err != nil {
		t.Errorf("taking claims and PVs away: %v", err)
	}
}

// pvs are all PVs by path.
func (k kube) pvs(ctx context.Context) (map[string]corev1.PersistentVolume, error) {
	var list corev1.PersistentVolumeList
	if err := k.core.Get().Resource("persistentvolumes").Do(ctx).Into(&list); err != nil {
		return nil, err
	}
	byPath := map[string]corev1.PersistentVolume{}
	for _, pv := range list.Items {
		if pv.Spec.Local == nil {
			return nil, fmt.Errorf("PV %s has no path", pv.Name)
		}
		path := pv.Spec.Local.Path
		if other, twice := byPath[path]; twice && other.DeletionTimestamp == nil && pv.DeletionTimestamp == nil {
			return nil, fmt.Errorf("PVs %s and %s are for the same path %s", other.Name, pv.Name, path)
		}
		byPath[path] = pv
	}
	return byPath, nil
}

const namespace = "default"

// claim makes a claim for one PV, if there is none of that name yet.
func (k kube) claim(ctx context.Context, name string, pv corev1.PersistentVolume) error {
	err := k.core.Post().Namespace(namespace).Resource("persistentvolumeclaims").Body(&corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName: pv.Name, StorageClassName: &pv.Spec.StorageClassName, VolumeMode: pv.Spec.VolumeMode,
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}},
		},
	}).Do(ctx).Error()
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// release deletes a claim.
func (k kube) release(ctx context.Context, claim string) error {
	err := k.core.Delete().Namespace(namespace).Resource("persistentvolumeclaims").Name(claim).Do(ctx).Error()
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// event waits for an event with a reason and a text in its message.
func (k kube) event(t *testing.T, reason, text string) {
	t.Helper()
	await(t, fmt.Sprintf("an event %s about %q", reason, text), func(ctx context.Context) error {
		var list corev1.EventList
		if err := k.core.Get().Resource("events").Do(ctx).Into(&list); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Reason == reason && strings.Contains(e.Message, text) {
				return nil
			}
		}
		return fmt.Errorf("none among %d events", len(list.Items))
	})
}

// await asks until done says nil, or the test's time is over.
func await(t *testing.T, what string, done func(context.Context) error) {
	t.Helper()
	ctx := t.Context()
	if deadline, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-20*time.Second))
		defer cancel()
	}
	if err := until(ctx, what, done); err != nil {
		t.Fatal(err)
	}
}

// patience is how long something in the machine may take. It is emulated, on a
// computer that others use too, and a wipe's retry may wait for half a minute.
const patience = 60 * time.Second

// until asks until done says nil. There is nothing to be woken by.
func until(ctx context.Context, what string, done func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := done(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w: %w", what, ctx.Err(), err)
		case <-tick.C:
		}
	}
}
