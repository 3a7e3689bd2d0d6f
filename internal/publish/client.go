package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

// pvs is the resource this package is about.
const pvs = "persistentvolumes"

// Client carries PersistentVolumes of one node to and from the API server. It
// knows the four kinds of object it uses and no others, which keeps the
// agent's memory small. It may be used from several goroutines.
type Client struct {
	node    string
	core    rest.Interface
	storage rest.Interface
	codec   runtime.ParameterCodec
}

// NewClient returns a client for the agent of one node.
func NewClient(config *rest.Config, node string) (*Client, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(storagev1.AddToScheme(scheme))
	core, err := REST(config, scheme, corev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	storage, err := REST(config, scheme, storagev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	return &Client{node: node, core: core, storage: storage, codec: runtime.NewParameterCodec(scheme)}, nil
}

// Node reads the node this client is for.
func (c *Client) Node(ctx context.Context) (Node, error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	var n corev1.Node
	if err := c.core.Get().Resource("nodes").Name(c.node).Do(ctx).Into(&n); err != nil {
		return Node{}, fmt.Errorf("reading node %s: %w", c.node, err)
	}
	hostname := n.Labels[corev1.LabelHostname]
	if hostname == "" {
		return Node{}, fmt.Errorf("reading node %s: it has no label %s, so no pod could be placed beside its volumes", c.node, corev1.LabelHostname)
	}
	tainted := slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == api.TaintDiskGone })
	return Node{Name: n.Name, UID: string(n.UID), Hostname: hostname, Labels: n.Labels, Tainted: tainted}, nil
}

// Create makes a PersistentVolume and returns it as the API server has it.
// Where one of that name exists already it returns that one, with created false.
func (c *Client) Create(ctx context.Context, pv *corev1.PersistentVolume) (got *corev1.PersistentVolume, created bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	got = &corev1.PersistentVolume{}
	err = c.core.Post().Resource(pvs).Body(pv).Do(ctx).Into(got)
	if apierrors.IsAlreadyExists(err) {
		got, err = c.Get(ctx, pv.Name)
		if got == nil && err == nil { // deleted in between
			err = apierrors.NewConflict(corev1.Resource(pvs), pv.Name, errors.New("it went away while it was read"))
		}
		return got, false, err
	}
	if err != nil {
		return nil, false, fmt.Errorf("creating PV %s: %w", pv.Name, err)
	}
	return got, true, nil
}

// Get reads a PersistentVolume from the API server itself, nil when it does not
// exist.
func (c *Client) Get(ctx context.Context, name string) (*corev1.PersistentVolume, error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	pv := &corev1.PersistentVolume{}
	err := c.core.Get().Resource(pvs).Name(name).Do(ctx).Into(pv)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading PV %s: %w", name, err)
	}
	return pv, nil
}

// Withdraw deletes a PersistentVolume, if it is still the one that was seen; an
// unclaimed one also only if nothing of it has changed since, so that it cannot
// be taken from a claim that came in between. It returns the PV as the API
// server has it then, nil when it is gone; one that was gone is no error.
func (c *Client) Withdraw(ctx context.Context, pv volume.PV) (*corev1.PersistentVolume, error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	uid := types.UID(pv.UID)
	only := &metav1.Preconditions{UID: &uid}
	if pv.Free() {
		only.ResourceVersion = &pv.ResourceVersion
	}
	answer, err := c.core.Delete().Resource(pvs).Name(pv.Name).Body(&metav1.DeleteOptions{Preconditions: only}).Do(ctx).Get()
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("deleting PV %s: %w", pv.Name, err)
	}
	left, _ := answer.(*corev1.PersistentVolume) // a Status, when no finalizer holds it
	return left, nil
}

// LetGo takes Berth's finalizer off a PersistentVolume, under the same
// conditions as Withdraw.
func (c *Client) LetGo(ctx context.Context, pv volume.PV) error {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	meta := map[string]any{
		"uid":                                 pv.UID,
		"$deleteFromPrimitiveList/finalizers": []string{api.Finalizer},
	}
	if pv.Free() {
		meta["resourceVersion"] = pv.ResourceVersion
	}
	patch, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return fmt.Errorf("letting PV %s go: %w", pv.Name, err)
	}
	err = c.core.Patch(types.StrategicMergePatchType).Resource(pvs).Name(pv.Name).Body(patch).Do(ctx).Error()
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("letting PV %s go: %w", pv.Name, err)
	}
	return nil
}

// Label puts this node's label on a PersistentVolume, if it is still the one
// that was seen, and returns it as the API server has it then.
func (c *Client) Label(ctx context.Context, pv volume.PV) (*corev1.PersistentVolume, error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": pv.UID, "labels": map[string]string{api.LabelNode: NodeLabelValue(c.node)},
	}})
	if err != nil {
		return nil, fmt.Errorf("labelling PV %s: %w", pv.Name, err)
	}
	got := &corev1.PersistentVolume{}
	if err := c.core.Patch(types.MergePatchType).Resource(pvs).Name(pv.Name).Body(patch).Do(ctx).Into(got); err != nil {
		return nil, fmt.Errorf("labelling PV %s: %w", pv.Name, err)
	}
	return got, nil
}

// Event writes a Kubernetes event.
func (c *Client) Event(ctx context.Context, e *corev1.Event) error { return WriteEvent(ctx, c.core, e) }
