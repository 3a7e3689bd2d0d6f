package publish

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
)

const csiCapacities = "csistoragecapacities"

// A Capacity is the room that a class has on this node. The scheduler places a
// claim where Largest is at least what it asks for, and weighs nodes by Free.
type Capacity struct {
	Class         string
	Free, Largest int64 // bytes
}

// Capacities keeps this node's CSIStorageCapacity objects as they should be: one
// a class, owned by the Node object, so that they go with it. It writes only
// what has changed since it wrote last. It may be used from several goroutines.
type Capacities struct {
	client    *Client
	namespace string
	node      Node

	turn chan struct{} // held by who writes; guards has

	has map[string]Capacity // by object, as written last; nil when that is not known

	mu    sync.Mutex // guards the rest
	asked uint64     // calls so far
	done  uint64     // the calls up to this one have what they asked for
	doubt uint64     // the last call that did not trust has
}

// NewCapacities returns the node's capacities, whose objects are in a namespace.
func (c *Client) NewCapacities(namespace string, node Node) *Capacities {
	return &Capacities{client: c, namespace: namespace, node: node, turn: make(chan struct{}, 1)}
}

// Update makes the objects say what room returns, no class twice, and deletes
// those of other classes. Room is called once this call's turn has come, so what
// the caller knew before is in it; of calls that wait together one writes for
// all. So Update is for every change, from wherever it comes. Room must not wait
// for a disk.
func (k *Capacities) Update(ctx context.Context, room func() []Capacity) error {
	return k.update(ctx, room, false)
}

// Renew is Update for when the objects may not be as they were written: it reads
// them first. It is for a claim that was placed here where there is no room, and
// for a look at everything that is taken now and then.
func (k *Capacities) Renew(ctx context.Context, room func() []Capacity) error {
	return k.update(ctx, room, true)
}

func (k *Capacities) update(ctx context.Context, room func() []Capacity, doubt bool) error {
	k.mu.Lock()
	k.asked++
	mine := k.asked
	if doubt {
		k.doubt = mine
	}
	k.mu.Unlock()
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return fmt.Errorf("writing the node's storage capacity: %w", ctx.Err())
	}
	k.mu.Lock()
	upTo, served := k.asked, k.done >= mine
	if k.doubt > k.done {
		k.has = nil
	}
	k.mu.Unlock()
	if served {
		return nil
	}
	if err := k.write(ctx, room()); err != nil {
		k.has = nil
		return fmt.Errorf("writing the node's storage capacity: %w", err)
	}
	k.mu.Lock()
	k.done = upTo
	k.mu.Unlock()
	return nil
}

// write brings the objects to what is wanted. The caller holds the turn.
func (k *Capacities) write(ctx context.Context, want []Capacity) error {
	if k.has == nil {
		if err := k.list(ctx); err != nil {
			return err
		}
	}
	var errs []error
	wanted := map[string]bool{}
	for _, c := range want {
		name := k.name(c.Class)
		wanted[name] = true
		has, there := k.has[name]
		if there && has == c {
			continue
		}
		if err := k.put(ctx, name, c, there); err != nil {
			errs = append(errs, err)
			continue
		}
		k.has[name] = c
	}
	for name := range k.has {
		if wanted[name] {
			continue
		}
		if err := k.remove(ctx, name); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(k.has, name)
	}
	return errors.Join(errs...)
}

// name is the object's for a class: the same in every life of the agent, and no
// other node's.
func (k *Capacities) name(class string) string {
	sum := sha256.Sum256([]byte(class + "\x00" + k.node.Name))
	return fmt.Sprintf("berth-%x", sum[:10])
}

func (k *Capacities) object(name string, c Capacity) *storagev1.CSIStorageCapacity {
	return &storagev1.CSIStorageCapacity{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: k.namespace,
			Labels:          map[string]string{api.LabelNode: NodeLabelValue(k.node.Name)},
			OwnerReferences: []metav1.OwnerReference{k.node.owner()},
		},
		NodeTopology:      &metav1.LabelSelector{MatchLabels: map[string]string{api.LabelNode: NodeLabelValue(k.node.Name)}},
		StorageClassName:  c.Class,
		Capacity:          resource.NewQuantity(c.Free, resource.BinarySI),
		MaximumVolumeSize: resource.NewQuantity(c.Largest, resource.BinarySI),
	}
}

// list reads what there is. One that cannot be made right by a new size counts
// as another's, and goes.
func (k *Capacities) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	var list storagev1.CSIStorageCapacityList
	o := metav1.ListOptions{LabelSelector: labels.Set{api.LabelNode: NodeLabelValue(k.node.Name)}.String()}
	if err := k.client.storage.Get().Namespace(k.namespace).Resource(csiCapacities).VersionedParams(&o, k.client.codec).Do(ctx).Into(&list); err != nil {
		return fmt.Errorf("listing: %w", err)
	}
	has := map[string]Capacity{}
	for _, o := range list.Items {
		c := Capacity{Class: o.StorageClassName, Free: -1, Largest: -1}
		if o.Capacity != nil {
			c.Free = o.Capacity.Value()
		}
		if o.MaximumVolumeSize != nil {
			c.Largest = o.MaximumVolumeSize.Value()
		}
		if o.Name == k.name(c.Class) && !k.mine(&o) {
			if err := k.remove(ctx, o.Name); err != nil {
				return err
			}
			continue
		}
		has[o.Name] = c
	}
	k.has = has
	return nil
}

// mine reports whether an object is this Node object's, and not that of an
// earlier one of its name, and for its pods.
func (k *Capacities) mine(o *storagev1.CSIStorageCapacity) bool {
	t := o.NodeTopology
	return len(o.OwnerReferences) == 1 && o.OwnerReferences[0].UID == types.UID(k.node.UID) &&
		t != nil && len(t.MatchExpressions) == 0 && len(t.MatchLabels) == 1 && t.MatchLabels[api.LabelNode] == NodeLabelValue(k.node.Name)
}

// put writes one object: a new size where it is there, else all of it.
func (k *Capacities) put(ctx context.Context, name string, c Capacity, there bool) error {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	if there {
		patch, err := json.Marshal(map[string]string{"capacity": quantity(c.Free), "maximumVolumeSize": quantity(c.Largest)})
		if err != nil {
			return fmt.Errorf("class %s: %w", c.Class, err)
		}
		err = k.client.storage.Patch(types.MergePatchType).Namespace(k.namespace).Resource(csiCapacities).Name(name).Body(patch).Do(ctx).Error()
		if err == nil || !apierrors.IsNotFound(err) {
			return about(c.Class, err)
		}
	}
	create := func() error {
		return k.client.storage.Post().Namespace(k.namespace).Resource(csiCapacities).Body(k.object(name, c)).Do(ctx).Error()
	}
	err := create()
	if apierrors.IsAlreadyExists(err) { // somebody has taken the label off
		if err = k.remove(ctx, name); err == nil {
			err = create()
		}
	}
	return about(c.Class, err)
}

func (k *Capacities) remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	err := k.client.storage.Delete().Namespace(k.namespace).Resource(csiCapacities).Name(name).Do(ctx).Error()
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s: %w", name, err)
	}
	return nil
}

func about(class string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("class %s: %w", class, err)
}
