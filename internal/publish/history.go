package publish

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// ListAnew makes a reflector list anew after a watch that did not end in its own
// time, instead of going on where the watch was.
//
// The API server's database may have been put back to an earlier time meanwhile,
// and a server that is asked to go on from a version does not tell: one that is
// not there yet sends nothing until it is, and one that has overtaken the version
// sends what came after. A volume that had a tenant would be there to be claimed,
// and nobody would look. A server whose database is put back is stopped for it,
// which ends its watches early.
func ListAnew(lw *cache.ListWatch) *cache.ListWatch {
	h := &history{}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			out, err := lw.ListWithContextFunc(ctx, o)
			if err == nil {
				h.goesOn(0)
			}
			return out, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			if o.SendInitialEvents == nil && !h.mayGoOn() { // else the watch begins with the list
				return nil, apierrors.NewResourceExpired("the watch has ended early, and what is there is listed anew")
			}
			began := time.Now()
			w, err := lw.WatchFuncWithContext(ctx, o)
			if err == nil && o.TimeoutSeconds != nil {
				h.goesOn(time.Until(began.Add(time.Duration(*o.TimeoutSeconds) * time.Second)))
			}
			return w, err
		},
	}
}

// history is whether a watch may begin where the last list or watch has ended.
type history struct {
	mu    sync.Mutex // guards the rest
	known bool
	after time.Time // not before that
}

// goesOn says that the next watch may go on, once, when it begins after a while.
func (h *history) goesOn(after time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known, h.after = true, time.Now().Add(after)
}

func (h *history) mayGoOn() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	may := h.known && !time.Now().Before(h.after)
	h.known = false
	return may
}
