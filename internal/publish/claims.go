package publish

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

// pvcs is the resource of claims.
const pvcs = "persistentvolumeclaims"

// AnnSelectedNode is where the scheduler writes the node that it has chosen for
// a claim's pod, and where whoever cannot make a volume there takes it off
// again, so that it chooses anew. The name is Kubernetes' own.
const AnnSelectedNode = "volume.kubernetes.io/selected-node"

// Claims is what is known of the claims that were placed on this node, kept up to
// date by Client.WatchClaims: a few words of each, not the objects.
type Claims struct {
	changed func(volume.Want)
	listed  func()

	mu     sync.Mutex // guards the rest
	byUID  map[string]volume.Want
	synced bool
}

// NewClaims returns an empty set. It calls changed, from any goroutine, with
// each claim that has come or changed, and with the last form of one that has
// gone or was placed elsewhere, which Get does not return any more; and listed
// after each whole list.
func NewClaims(changed func(volume.Want), listed func()) *Claims {
	return &Claims{changed: changed, listed: listed, byUID: map[string]volume.Want{}}
}

// WatchClaims keeps claims up to date until ctx ends. Only those with this
// client's node's label are asked for.
func (c *Client) WatchClaims(ctx context.Context, claims *Claims) {
	selector := labels.Set{api.LabelNode: NodeLabelValue(c.node)}.String()
	follow(ctx, RequestTimeout, c.core, c.codec, pvcs, selector, &corev1.PersistentVolumeClaim{}, &corev1.PersistentVolumeClaimList{}, claims)
}

// Claim reads a claim from the API server itself, nil when it does not exist.
func (c *Client) Claim(ctx context.Context, namespace, name string) (*volume.Want, error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	var claim corev1.PersistentVolumeClaim
	err := c.core.Get().Namespace(namespace).Resource(pvcs).Name(name).Do(ctx).Into(&claim)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading claim %s/%s: %w", namespace, name, err)
	}
	w := WantOf(&claim)
	return &w, nil
}

// WantOf reads from a claim what decisions need of it.
func WantOf(claim *corev1.PersistentVolumeClaim) volume.Want {
	s := &claim.Status
	w := volume.Want{
		Claim:           volume.Claim{Namespace: claim.Namespace, Name: claim.Name, UID: string(claim.UID)},
		ResourceVersion: claim.ResourceVersion,
		Class:           ClassOf(claim),
		Bytes:           claim.Spec.Resources.Requests.Storage().Value(),
		LimitBytes:      claim.Spec.Resources.Limits.Storage().Value(),
		Block:           claim.Spec.VolumeMode != nil && *claim.Spec.VolumeMode == corev1.PersistentVolumeBlock,
		Node:            claim.Annotations[AnnSelectedNode],
		PV:              claim.Spec.VolumeName,
		Deleting:        claim.DeletionTimestamp != nil,
		Unable:          unable(claim),
		HasBytes:        s.Capacity.Storage().Value(),
		AllocatedBytes:  s.AllocatedResources.Storage().Value(),
		Resizing:        string(s.AllocatedResourceStatuses[corev1.ResourceStorage]),
	}
	for _, mode := range claim.Spec.AccessModes {
		w.AccessModes = append(w.AccessModes, string(mode))
	}
	return w
}

// ClassOf is the name of a claim's class, "" for none. Old claims have it in an
// annotation, which goes first, as for Kubernetes' own controllers.
func ClassOf(claim *corev1.PersistentVolumeClaim) string {
	if class, ok := claim.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return class
	}
	if claim.Spec.StorageClassName == nil {
		return ""
	}
	return *claim.Spec.StorageClassName
}

// unable is for what a claim would get something else than it asks for, if it
// were ignored.
func unable(claim *corev1.PersistentVolumeClaim) string {
	var asks []string
	if claim.Spec.DataSource != nil || claim.Spec.DataSourceRef != nil {
		asks = append(asks, "a copy of other data (spec.dataSource)")
	}
	if claim.Spec.Selector != nil {
		asks = append(asks, "a volume with certain labels (spec.selector)")
	}
	if a := claim.Spec.VolumeAttributesClassName; a != nil && *a != "" {
		asks = append(asks, "a VolumeAttributesClass (spec.volumeAttributesClassName)")
	}
	return strings.Join(asks, ", ")
}

// Synced reports whether the first list has been read.
func (c *Claims) Synced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.synced
}

// Get returns a claim by UID.
func (c *Claims) Get(uid string) (volume.Want, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, ok := c.byUID[uid]
	return w, ok
}

// All returns all claims.
func (c *Claims) All() []volume.Want {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.byUID))
}

// Add, Update, Delete, Replace and Resync make Claims a cache.ReflectorStore.

// Add takes a claim in.
func (c *Claims) Add(obj any) error { return c.Update(obj) }

// Update takes a claim's new form in.
func (c *Claims) Update(obj any) error {
	claim, ok := obj.(*corev1.PersistentVolumeClaim)
	if !ok {
		return fmt.Errorf("watching claims: got a %T", obj)
	}
	w := WantOf(claim)
	c.mu.Lock()
	c.byUID[w.Claim.UID] = w
	c.mu.Unlock()
	c.changed(w)
	return nil
}

// Delete takes a claim out: it is gone, or was placed elsewhere.
func (c *Claims) Delete(obj any) error {
	claim, ok := obj.(*corev1.PersistentVolumeClaim)
	if !ok {
		return fmt.Errorf("watching claims: got a %T", obj)
	}
	w := WantOf(claim)
	c.mu.Lock()
	delete(c.byUID, w.Claim.UID)
	c.mu.Unlock()
	c.changed(w)
	return nil
}

// Replace takes a whole list in.
func (c *Claims) Replace(objs []any, _ string) error {
	byUID := make(map[string]volume.Want, len(objs))
	for _, obj := range objs {
		if claim, ok := obj.(*corev1.PersistentVolumeClaim); ok {
			byUID[string(claim.UID)] = WantOf(claim)
		}
	}
	c.mu.Lock()
	touched := maps.Clone(c.byUID)
	maps.Copy(touched, byUID)
	c.byUID, c.synced = byUID, true
	c.mu.Unlock()
	for _, w := range touched {
		c.changed(w)
	}
	c.listed()
	return nil
}

// Resync does nothing: nothing is ever resynced.
func (c *Claims) Resync() error { return nil }
