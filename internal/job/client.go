package job

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/berth-storage/berth/internal/publish"
)

const resourceName = "jobs"

// Client runs Jobs in one namespace. It may be used from several goroutines.
type Client struct {
	namespace string
	batch     rest.Interface
	codec     runtime.ParameterCodec
}

// NewClient returns a client for Jobs in a namespace.
func NewClient(config *rest.Config, namespace string) (*Client, error) {
	scheme := runtime.NewScheme()
	if err := batchv1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	batch, err := publish.REST(config, scheme, batchv1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	return &Client{namespace: namespace, batch: batch, codec: runtime.NewParameterCodec(scheme)}, nil
}

// create makes a Job. Where one of that name exists it returns nil.
func (c *Client) create(ctx context.Context, j *batchv1.Job) (*batchv1.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, publish.RequestTimeout)
	defer cancel()
	got := &batchv1.Job{}
	err := c.batch.Post().Namespace(c.namespace).Resource(resourceName).Body(j).Do(ctx).Into(got)
	if apierrors.IsAlreadyExists(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("creating Job %s: %w", c.full(j.Name), err)
	}
	return got, nil
}

// get reads a Job, nil when it does not exist.
func (c *Client) get(ctx context.Context, name string) (*batchv1.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, publish.RequestTimeout)
	defer cancel()
	j := &batchv1.Job{}
	err := c.batch.Get().Namespace(c.namespace).Resource(resourceName).Name(name).Do(ctx).Into(j)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Job %s: %w", c.full(name), err)
	}
	return j, nil
}

// delete deletes a Job, if it is still the one that was seen; one that is gone,
// or another one, is no error.
func (c *Client) delete(ctx context.Context, j *batchv1.Job, how metav1.DeletionPropagation) error {
	ctx, cancel := context.WithTimeout(ctx, publish.RequestTimeout)
	defer cancel()
	options := &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &j.UID}, PropagationPolicy: &how}
	err := c.batch.Delete().Namespace(c.namespace).Resource(resourceName).Name(j.Name).Body(options).Do(ctx).Error()
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting Job %s: %w", c.full(j.Name), err)
	}
	return nil
}

// watchLife is how long one watch lasts before another is begun, which the
// server is told; and watchSlack how much longer an answer is waited for.
const (
	watchLife  = 5 * time.Minute
	watchSlack = 30 * time.Second
)

// await follows a Job until done says so. It calls done with each form of the
// Job, nil when it does not exist, and with the last one again each tick.
// An API server that does not answer is asked again; only ctx ends that.
func (c *Client) await(ctx context.Context, name string, tick time.Duration, done func(*batchv1.Job) bool) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	backoff := publish.Backoff()
	for {
		j, err := c.get(ctx, name)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case Permanent(err):
			return err
		case err == nil && done(j):
			return nil
		case err == nil:
			var progress bool
			if progress, err = c.follow(ctx, name, j, ticker.C, done); err == nil {
				return nil
			}
			if Permanent(err) {
				return err
			}
			if progress {
				backoff = publish.Backoff()
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(backoff.Step()):
		}
	}
}

// follow watches a Job from the form that was seen. It returns no error once
// done has said so, else why the watch has ended. Progress says that the watch
// has brought something, or has lasted as long as it should.
func (c *Client) follow(ctx context.Context, name string, seen *batchv1.Job, tick <-chan time.Time, done func(*batchv1.Job) bool) (progress bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, watchLife+watchSlack)
	defer cancel()
	options := metav1.ListOptions{
		Watch: true, FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String(),
		TimeoutSeconds: new(int64(watchLife / time.Second)),
	}
	if seen != nil {
		options.ResourceVersion = seen.ResourceVersion
	}
	w, err := c.batch.Get().Namespace(c.namespace).Resource(resourceName).VersionedParams(&options, c.codec).Watch(ctx)
	if err != nil {
		return false, fmt.Errorf("watching Job %s: %w", c.full(name), err)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case <-tick:
			if done(seen) {
				return true, nil
			}
		case e, ok := <-w.ResultChan():
			if !ok {
				return progress, fmt.Errorf("watching Job %s: the watch has ended", c.full(name))
			}
			j, isJob := e.Object.(*batchv1.Job)
			switch {
			case e.Type == watch.Error:
				return progress, fmt.Errorf("watching Job %s: %w", c.full(name), apierrors.FromObject(e.Object))
			case !isJob || e.Type == watch.Bookmark:
				continue
			case e.Type == watch.Deleted:
				j = nil
			}
			seen, progress = j, true
			if done(seen) {
				return true, nil
			}
		}
	}
}

// Permanent reports whether an error of the API server is about what was asked,
// so that asking again soon is of no use.
func Permanent(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) ||
		apierrors.IsNotFound(err) // of the namespace
}

func (c *Client) full(name string) string { return c.namespace + "/" + name }
