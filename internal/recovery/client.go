package recovery

import (
	"context"
	"encoding/json"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
)

// leaseNamespace is where kubelets keep their Leases.
const leaseNamespace = corev1.NamespaceNodeLease

// client carries what the controller needs to and from the API server. It knows
// the few kinds of object it uses: the clients for all kinds would add 11 MB to
// the program, and 8 MB to the memory of every agent, which is the same program.
type client struct {
	core, coordination rest.Interface
	codec              runtime.ParameterCodec
}

func newClient(config *rest.Config) (*client, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(coordinationv1.AddToScheme(scheme))
	core, err := publish.REST(config, scheme, corev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	coordination, err := publish.REST(config, scheme, coordinationv1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	return &client{core: core, coordination: coordination, codec: runtime.NewParameterCodec(scheme)}, nil
}

// NodeNamed is part of lookup.
func (c *client) NodeNamed(ctx context.Context, name string) (bool, error) {
	return publish.NodeNamed(ctx, c.core, name)
}

// NodeWithHostname returns the name of a Node object with that hostname label,
// "" if there is none.
func (c *client) NodeWithHostname(ctx context.Context, hostname string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, publish.RequestTimeout)
	defer cancel()
	var list corev1.NodeList
	o := metav1.ListOptions{LabelSelector: corev1.LabelHostname + "=" + hostname, Limit: 1}
	if err := c.core.Get().Resource("nodes").VersionedParams(&o, c.codec).Do(ctx).Into(&list); err != nil {
		return "", fmt.Errorf("listing nodes with hostname %s: %w", hostname, err)
	}
	if len(list.Items) == 0 {
		return "", nil
	}
	return list.Items[0].Name, nil
}

// Lease reads a Lease, nil when it does not exist.
func (c *client) Lease(ctx context.Context, namespace, name string) (*coordinationv1.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, publish.RequestTimeout)
	defer cancel()
	lease := &coordinationv1.Lease{}
	err := c.coordination.Get().Namespace(namespace).Resource("leases").Name(name).Do(ctx).Into(lease)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading lease %s/%s: %w", namespace, name, err)
	}
	return lease, nil
}

// CreateLease makes a Lease, if there is none of its name.
func (c *client) CreateLease(ctx context.Context, lease *coordinationv1.Lease) error {
	ctx, cancel := context.WithTimeout(ctx, publish.RequestTimeout)
	defer cancel()
	err := c.coordination.Post().Namespace(lease.Namespace).Resource("leases").Body(lease).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("creating lease %s/%s: %w", lease.Namespace, lease.Name, err)
	}
	return nil
}

// UpdateLease writes a Lease, if it is still as it was read.
func (c *client) UpdateLease(ctx context.Context, lease *coordinationv1.Lease) error {
	ctx, cancel := context.WithTimeout(ctx, publish.RequestTimeout)
	defer cancel()
	err := c.coordination.Put().Namespace(lease.Namespace).Resource("leases").Name(lease.Name).Body(lease).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("updating lease %s/%s: %w", lease.Namespace, lease.Name, err)
	}
	return nil
}

// Claim reads a claim, nil when it does not exist.
func (c *client) Claim(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error) {
	ctx, cancel := context.WithTimeout(ctx, publish.RequestTimeout)
	defer cancel()
	claim := &corev1.PersistentVolumeClaim{}
	err := c.core.Get().Namespace(namespace).Resource("persistentvolumeclaims").Name(name).Do(ctx).Into(claim)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading claim %s/%s: %w", namespace, name, err)
	}
	return claim, nil
}

// DeleteClaim deletes a claim, if it is still the same; one that is gone is no
// error.
func (c *client) DeleteClaim(ctx context.Context, claim Claim) error {
	ctx, cancel := context.WithTimeout(ctx, publish.RequestTimeout)
	defer cancel()
	uid := types.UID(claim.UID)
	err := c.core.Delete().Namespace(claim.Namespace).Resource("persistentvolumeclaims").Name(claim.Name).
		Body(&metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}).Do(ctx).Error()
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return nil
}

// DeletePV deletes a PersistentVolume, if nothing of it has changed since it was
// seen; one that is gone is no error.
func (c *client) DeletePV(ctx context.Context, v Volume) error {
	ctx, cancel := context.WithTimeout(ctx, publish.RequestTimeout)
	defer cancel()
	uid := types.UID(v.UID)
	err := c.core.Delete().Resource("persistentvolumes").Name(v.Name).
		Body(&metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &v.ResourceVersion}}).Do(ctx).Error()
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting PV %s: %w", v.Name, err)
	}
	return nil
}

// Annotate sets annotations of a PersistentVolume, or removes those with nil, if
// nothing of it has changed since it was seen.
func (c *client) Annotate(ctx context.Context, v Volume, annotations map[string]*string) error {
	return c.patch(ctx, v, "annotating", map[string]any{"annotations": annotations})
}

// LetGo takes Berth's finalizer off a PersistentVolume, if nothing of it has
// changed since it was seen.
func (c *client) LetGo(ctx context.Context, v Volume) error {
	return c.patch(ctx, v, "letting go", map[string]any{"$deleteFromPrimitiveList/finalizers": []string{api.Finalizer}})
}

// patch changes a PersistentVolume's metadata; one that is gone is no error.
func (c *client) patch(ctx context.Context, v Volume, doing string, meta map[string]any) error {
	ctx, cancel := context.WithTimeout(ctx, publish.RequestTimeout)
	defer cancel()
	meta["uid"], meta["resourceVersion"] = v.UID, v.ResourceVersion
	body, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return fmt.Errorf("%s PV %s: %w", doing, v.Name, err)
	}
	err = c.core.Patch(types.StrategicMergePatchType).Resource("persistentvolumes").Name(v.Name).Body(body).Do(ctx).Error()
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("%s PV %s: %w", doing, v.Name, err)
	}
	return nil
}

// Event is part of cluster.
func (c *client) Event(ctx context.Context, e *corev1.Event) error {
	return publish.WriteEvent(ctx, c.core, e)
}
