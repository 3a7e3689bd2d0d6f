package recovery

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"

	"github.com/berth-storage/berth/api"
)

// requestTimeout bounds each request that is not a watch.
const requestTimeout = 15 * time.Second

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
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	codecs := serializer.NewCodecFactory(scheme)
	connect := func(path string, gv schema.GroupVersion) (rest.Interface, error) {
		c := rest.CopyConfig(config)
		c.APIPath, c.GroupVersion = path, &gv
		c.NegotiatedSerializer = codecs.WithoutConversion()
		c.ContentType = runtime.ContentTypeProtobuf
		c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
		c.QPS = -1 // the API server's own priority and fairness sets the pace
		return rest.RESTClientFor(c)
	}
	core, err := connect("/api", corev1.SchemeGroupVersion)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	coordination, err := connect("/apis", coordinationv1.SchemeGroupVersion)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return &client{core: core, coordination: coordination, codec: runtime.NewParameterCodec(scheme)}, nil
}

// NodeNamed reports whether a Node object of that name exists.
func (c *client) NodeNamed(ctx context.Context, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := c.core.Get().Resource("nodes").Name(name).Do(ctx).Error()
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading node %s: %w", name, err)
	}
	return true, nil
}

// NodeWithHostname returns the name of a Node object with that hostname label,
// "" if there is none.
func (c *client) NodeWithHostname(ctx context.Context, hostname string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
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
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
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
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := c.coordination.Post().Namespace(lease.Namespace).Resource("leases").Body(lease).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("creating lease %s/%s: %w", lease.Namespace, lease.Name, err)
	}
	return nil
}

// UpdateLease writes a Lease, if it is still as it was read.
func (c *client) UpdateLease(ctx context.Context, lease *coordinationv1.Lease) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := c.coordination.Put().Namespace(lease.Namespace).Resource("leases").Name(lease.Name).Body(lease).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("updating lease %s/%s: %w", lease.Namespace, lease.Name, err)
	}
	return nil
}

// Claim reads a claim, nil when it does not exist.
func (c *client) Claim(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
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
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
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
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
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
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
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

// Event writes a Kubernetes event.
func (c *client) Event(ctx context.Context, e *corev1.Event) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := c.core.Post().Namespace(e.Namespace).Resource("events").Body(e).Do(ctx).Error(); err != nil {
		return fmt.Errorf("writing an event: %w", err)
	}
	return nil
}
