package placement

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// client carries what this job needs to and from the API server.
type client struct {
	core, storage rest.Interface
	codec         runtime.ParameterCodec
}

func newClient(config *rest.Config) (*client, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(storagev1.AddToScheme(scheme))
	core, err := publish.REST(config, scheme, corev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	storage, err := publish.REST(config, scheme, storagev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	return &client{core: core, storage: storage, codec: runtime.NewParameterCodec(scheme)}, nil
}

// Patch does steps to a claim; false where it has changed meanwhile.
func (c *client) Patch(ctx context.Context, claim volume.Claim, steps []publish.PatchOp) (bool, error) {
	done, err := publish.PatchClaim(ctx, c.core, claim, steps)
	if err != nil {
		return false, fmt.Errorf("placing claim %s: %w", claim, err)
	}
	return done, nil
}

// NodeNamed is part of cluster.
func (c *client) NodeNamed(ctx context.Context, name string) (bool, error) {
	return publish.NodeNamed(ctx, c.core, name)
}

// VolumeNode is part of cluster.
func (c *client) VolumeNode(ctx context.Context, name, claimUID string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, publish.RequestTimeout)
	defer cancel()
	pv := &corev1.PersistentVolume{}
	err := c.core.Get().Resource("persistentvolumes").Name(name).Do(ctx).Into(pv)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading PV %s: %w", name, err)
	}
	return publish.CarvedNode(pv, claimUID), nil
}

// Event is part of cluster.
func (c *client) Event(ctx context.Context, e *corev1.Event) error {
	return publish.WriteEvent(ctx, c.core, e)
}

// follow keeps a mirror up to date with all objects of a resource that a label
// selector allows, until ctx ends.
func (c *client) follow(ctx context.Context, resource, selector string, into cache.ReflectorStore) {
	kinds := map[string]struct {
		client     rest.Interface
		kind, list runtime.Object
	}{
		claims:   {c.core, &corev1.PersistentVolumeClaim{}, &corev1.PersistentVolumeClaimList{}},
		nodes:    {c.core, &corev1.Node{}, &corev1.NodeList{}},
		classes:  {c.storage, &storagev1.StorageClass{}, &storagev1.StorageClassList{}},
		capacity: {c.storage, &storagev1.CSIStorageCapacity{}, &storagev1.CSIStorageCapacityList{}},
	}
	of := kinds[resource]
	publish.FollowAll(ctx, of.client, c.codec, resource, selector, of.kind, of.list, into)
}

// The resources that are watched.
const (
	claims   = "persistentvolumeclaims"
	nodes    = "nodes"
	classes  = "storageclasses"
	capacity = "csistoragecapacities"
)

// ofAgents selects the objects that agents have written.
const ofAgents = api.LabelNode
