package publish

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/berth-storage/berth/api"
)

// WatchVolumes keeps store fed with the PersistentVolumes of this client's node
// until ctx ends. Only those are asked for, by label.
func (c *Client) WatchVolumes(ctx context.Context, store *Store) {
	selector := labels.Set{api.LabelNode: NodeLabelValue(c.node)}.String()
	follow(ctx, RequestTimeout, c.core, c.codec, pvs, selector, &corev1.PersistentVolume{}, &corev1.PersistentVolumeList{}, store)
}

// Class is what volumes take from their StorageClass.
type Class struct {
	Provisioner    string
	Parameters     map[string]string
	Reclaim        corev1.PersistentVolumeReclaimPolicy
	MountOptions   []string
	AllowExpansion bool
	Immediate      bool // claims get a volume before a pod wants it
}

// Classes is the cluster's StorageClasses, kept up to date by WatchClasses.
type Classes struct {
	changed func()

	mu     sync.Mutex // guards byName and synced
	byName map[string]Class
	synced bool
}

// NewClasses returns an empty set that calls changed after each change.
func NewClasses(changed func()) *Classes {
	return &Classes{changed: changed, byName: map[string]Class{}}
}

// WatchClasses keeps classes up to date until ctx ends.
func (c *Client) WatchClasses(ctx context.Context, classes *Classes) {
	follow(ctx, RequestTimeout, c.storage, c.codec, "storageclasses", "", &storagev1.StorageClass{}, &storagev1.StorageClassList{}, classes)
}

// Get returns a class by name.
func (c *Classes) Get(name string) (Class, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	class, ok := c.byName[name]
	return class, ok
}

// All returns the classes by name.
func (c *Classes) All() map[string]Class {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.byName)
}

// Names returns the names of all classes, and whether they have been read at
// all.
func (c *Classes) Names() (names []string, synced bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.byName {
		names = append(names, name)
	}
	return names, c.synced
}

// Add, Update, Delete, Replace and Resync make Classes a cache.ReflectorStore.

// Add takes a class in.
func (c *Classes) Add(obj any) error { return c.Update(obj) }

// Update takes a class's new form in.
func (c *Classes) Update(obj any) error {
	class, ok := obj.(*storagev1.StorageClass)
	if !ok {
		return fmt.Errorf("watching storage classes: got a %T", obj)
	}
	c.mu.Lock()
	c.byName[class.Name] = classOf(class)
	c.mu.Unlock()
	c.changed()
	return nil
}

// Delete takes a class out.
func (c *Classes) Delete(obj any) error {
	class, ok := obj.(*storagev1.StorageClass)
	if !ok {
		return fmt.Errorf("watching storage classes: got a %T", obj)
	}
	c.mu.Lock()
	delete(c.byName, class.Name)
	c.mu.Unlock()
	c.changed()
	return nil
}

// Replace takes a whole list in.
func (c *Classes) Replace(objs []any, _ string) error {
	c.mu.Lock()
	c.byName = make(map[string]Class, len(objs))
	for _, obj := range objs {
		if class, ok := obj.(*storagev1.StorageClass); ok {
			c.byName[class.Name] = classOf(class)
		}
	}
	c.synced = true
	c.mu.Unlock()
	c.changed()
	return nil
}

// Resync does nothing: nothing is ever resynced.
func (c *Classes) Resync() error { return nil }

func classOf(s *storagev1.StorageClass) Class {
	class := Class{
		Provisioner: s.Provisioner, Parameters: s.Parameters,
		Reclaim: corev1.PersistentVolumeReclaimDelete, MountOptions: s.MountOptions,
		AllowExpansion: s.AllowVolumeExpansion != nil && *s.AllowVolumeExpansion,
		Immediate:      s.VolumeBindingMode == nil || *s.VolumeBindingMode == storagev1.VolumeBindingImmediate,
	}
	if s.ReclaimPolicy != nil {
		class.Reclaim = *s.ReclaimPolicy
	}
	return class
}

// follow lists and watches one resource into a store until ctx ends. Patience is
// for a list.
func follow(ctx context.Context, patience time.Duration, client rest.Interface, codec runtime.ParameterCodec, resource, selector string,
	kind, list runtime.Object, store cache.ReflectorStore) {
	request := requests(client, codec, resource, selector)
	feed(ctx, ListAnew(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			out := list.DeepCopyObject()
			return out, request(o).Do(ctx).Into(out)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.Watch = true
			return request(o).Watch(ctx)
		},
	}), resource, kind, store)
}

func feed(ctx context.Context, lw cache.ListerWatcher, name string, kind runtime.Object, store cache.ReflectorStore) {
	r := cache.NewReflectorWithOptions(lw, kind, store, cache.ReflectorOptions{
		Name: name, TypeDescription: name, Backoff: Backoff(),
	})
	r.RunWithContext(ctx)
}

// requests makes the requests of one list and watch.
func requests(client rest.Interface, codec runtime.ParameterCodec, resource, selector string) func(metav1.ListOptions) *rest.Request {
	return func(o metav1.ListOptions) *rest.Request {
		o.LabelSelector, o.FieldSelector = selector, fields.Everything().String()
		return client.Get().Resource(resource).VersionedParams(&o, codec)
	}
}
