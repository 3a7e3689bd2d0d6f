package publish

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// What the controller's jobs do to the API server as the agent does.

// listTimeout bounds a list of all objects of a kind in a cluster: tens of
// thousands, on a slow API server.
const listTimeout = time.Minute

// FollowAll keeps a store up to date with all objects of a resource, of the whole
// cluster, that a label selector allows, until ctx ends. An API server that does
// not answer is asked again within seconds.
func FollowAll(ctx context.Context, client rest.Interface, codec runtime.ParameterCodec, resource, selector string,
	kind, list runtime.Object, store cache.ReflectorStore) {
	follow(ctx, listTimeout, client, codec, resource, selector, kind, list, store)
}

// NodeNamed reports whether a Node object of that name exists.
func NodeNamed(ctx context.Context, core rest.Interface, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	err := core.Get().Resource("nodes").Name(name).Do(ctx).Error()
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading node %s: %w", name, err)
	}
	return true, nil
}

// WriteEvent writes a Kubernetes event.
func WriteEvent(ctx context.Context, core rest.Interface, e *corev1.Event) error {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	if err := core.Post().Namespace(e.Namespace).Resource("events").Body(e).Do(ctx).Error(); err != nil {
		return fmt.Errorf("writing an event: %w", err)
	}
	return nil
}
