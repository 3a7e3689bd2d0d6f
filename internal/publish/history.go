package publish

import (
	"context"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// OneWatchAList makes a reflector list anew after each watch that has ended,
// instead of going on where the watch was.
//
// The API server's database may have been put back to an earlier time meanwhile,
// and a server that is asked to go on from a version does not tell: one that is
// not there yet sends nothing until it is, and one that has overtaken the version
// sends what came after. A volume that had a tenant would be there to be claimed,
// and nobody would look. A watch ends when the server does, and else every 5 to
// 10 minutes, so this costs few lists.
func OneWatchAList(lw *cache.ListWatch) *cache.ListWatch {
	var listed atomic.Bool
	list, begin := lw.ListWithContextFunc, lw.WatchFuncWithContext
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			out, err := list(ctx, o)
			listed.Store(err == nil)
			return out, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			if o.SendInitialEvents == nil && !listed.Swap(false) { // else the watch begins with the list
				return nil, apierrors.NewResourceExpired("the watch has ended, and what is there is listed anew")
			}
			return begin(ctx, o)
		},
	}
}
