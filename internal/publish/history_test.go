package publish

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// TestListAnew: a watch begins after a list, or where one that lasted its time
// has ended, once; never where one was broken off.
func TestListAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := false
		lw := ListAnew(&cache.ListWatch{
			ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
				return &corev1.NodeList{}, nil
			},
			WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
				if down {
					return nil, errors.New("connection refused")
				}
				return watch.NewFake(), nil
			},
		})
		list := func() {
			t.Helper()
			if _, err := lw.ListWithContext(t.Context(), metav1.ListOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		begin := func(anew bool) {
			t.Helper()
			seconds := int64(300)
			_, err := lw.WatchWithContext(t.Context(), metav1.ListOptions{TimeoutSeconds: &seconds})
			if apierrors.IsResourceExpired(err) != anew {
				t.Errorf("the watch says %v; want a list: %v", err, anew)
			}
		}
		begin(true) // before the first list
		list()
		begin(false)
		time.Sleep(299 * time.Second)
		begin(true) // broken off
		begin(true)
		list()
		begin(false)
		time.Sleep(300 * time.Second)
		begin(false) // it lasted its time
		time.Sleep(300 * time.Second)
		down = true
		begin(false) // the server is away: it may come back with another history
		down = false
		begin(true)
		list()
		begin(false)
	})
}
