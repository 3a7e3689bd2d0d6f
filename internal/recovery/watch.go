package recovery

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/berth-storage/berth/internal/publish"
)

// listTimeout bounds a list of all objects of a kind: tens of thousands, on a
// slow API server.
const listTimeout = time.Minute

// WatchVolumes and WatchNodes keep a mirror up to date until ctx ends. Claims
// are not watched: the few that matter are read when they do.

func (c *client) WatchVolumes(ctx context.Context, into cache.ReflectorStore) {
	c.follow(ctx, "persistentvolumes", &corev1.PersistentVolume{}, &corev1.PersistentVolumeList{}, into)
}

func (c *client) WatchNodes(ctx context.Context, into cache.ReflectorStore) {
	c.follow(ctx, "nodes", &corev1.Node{}, &corev1.NodeList{}, into)
}

// follow lists and watches all objects of a resource. An API server that does
// not answer is asked again within seconds.
func (c *client) follow(ctx context.Context, resource string, kind, list runtime.Object, into cache.ReflectorStore) {
	request := func(o metav1.ListOptions) *rest.Request {
		return c.core.Get().Resource(resource).VersionedParams(&o, c.codec)
	}
	lw := publish.ListAnew(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			ctx, cancel := context.WithTimeout(ctx, listTimeout)
			defer cancel()
			out := list.DeepCopyObject()
			return out, request(o).Do(ctx).Into(out)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.Watch = true
			return request(o).Watch(ctx)
		},
	})
	r := cache.NewReflectorWithOptions(lw, kind, into, cache.ReflectorOptions{
		Name: resource, TypeDescription: resource,
		Backoff: &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 10, Cap: 2 * time.Second},
	})
	r.RunWithContext(ctx)
}

func viewVolume(classes []string) func(any) (string, Volume, bool, error) {
	return func(obj any) (string, Volume, bool, error) {
		pv, ok := obj.(*corev1.PersistentVolume)
		if !ok {
			return "", Volume{}, false, fmt.Errorf("watching PVs: got a %T", obj)
		}
		v, keep := View(pv, classes)
		return pv.Name, v, keep, nil
	}
}
