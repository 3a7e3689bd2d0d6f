package publish

import (
	"context"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
)

// SameHistory asks, before a watch goes on from a version, whether the API server
// has come that far, and returns an error that makes a reflector list anew where it
// has not: its database was put back to an earlier time. A server that is asked to
// watch from a version ahead of its own does not refuse. It sends nothing until it
// gets there, and meanwhile a volume that had a tenant is there to be claimed.
//
// It does not notice a server that has overtaken the version since.
func SameHistory(ctx context.Context, request func(metav1.ListOptions) *rest.Request, empty runtime.Object, version string) error {
	seen, err := strconv.ParseUint(version, 10, 64)
	if err != nil || seen == 0 {
		return nil // from any version
	}
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	list := empty.DeepCopyObject()
	if err := request(metav1.ListOptions{Limit: 1}).Do(ctx).Into(list); err != nil { // without a version: the newest there is
		return fmt.Errorf("asking how far the API server is: %w", err)
	}
	about, err := meta.ListAccessor(list)
	if err != nil {
		return fmt.Errorf("asking how far the API server is: %w", err)
	}
	if now, err := strconv.ParseUint(about.GetResourceVersion(), 10, 64); err == nil && now < seen {
		return apierrors.NewResourceExpired(fmt.Sprintf("the API server is at version %d, and was at %d", now, seen))
	}
	return nil
}
