package publish

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/berth-storage/berth/api"
)

// The PersistentVolumes from before Berth have no label to ask for, so whoever
// looks for them is shown those of all nodes. They are read in pages and
// dropped at once, which keeps memory small.

// unlabelled selects what no agent has taken over.
const unlabelled = "!" + api.LabelNode

// pageSize is how many PVs are read at once.
const pageSize = 250

// Unlabelled calls each with every PersistentVolume of the cluster that has no
// node's label. It keeps none of them.
func (c *Client) Unlabelled(ctx context.Context, each func(*corev1.PersistentVolume)) error {
	request := requests(c.core, c.codec, pvs, unlabelled)
	o := metav1.ListOptions{Limit: pageSize}
	for {
		var list corev1.PersistentVolumeList
		page, cancel := context.WithTimeout(ctx, RequestTimeout)
		err := request(o).Do(page).Into(&list)
		cancel()
		if err != nil {
			return fmt.Errorf("listing PVs without a label: %w", err)
		}
		for i := range list.Items {
			each(&list.Items[i])
		}
		if o.Continue = list.Continue; o.Continue == "" {
			return nil
		}
	}
}

// WatchOld keeps store fed with the PersistentVolumes that node's label is
// missing from, until ctx ends or none is left. The API server sends it those of
// all nodes, as there is nothing to choose by.
func (c *Client) WatchOld(ctx context.Context, node Node, store *Store) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	feed(ctx, pages{ListAnew(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
			defer cancel()
			o.ResourceVersion, o.ResourceVersionMatch, o.Limit = "", "", pageSize // a version makes the server send all at once
			list := &corev1.PersistentVolumeList{}
			if err := requests(c.core, c.codec, pvs, "")(o).Do(ctx).Into(list); err != nil {
				return list, err
			}
			var kept []corev1.PersistentVolume
			for i := range list.Items {
				if node.Adoptable(&list.Items[i]) {
					kept = append(kept, list.Items[i])
				}
			}
			list.Items = kept
			return list, nil
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.Watch = true
			w, err := requests(c.core, c.codec, pvs, "")(o).Watch(ctx)
			if err != nil {
				return nil, err
			}
			return watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
				pv, ok := e.Object.(*corev1.PersistentVolume)
				if !ok || e.Type == watch.Bookmark {
					return e, true
				}
				if _, labelled := pv.Labels[api.LabelNode]; labelled {
					e.Type = watch.Deleted // it has left for the watch of the labelled
				}
				return e, store.old(pv.Name) || node.Adoptable(pv)
			}), nil
		},
	})}, "old "+pvs, &corev1.PersistentVolume{}, store.Old(cancel))
}

// pages is a ListWatch that is read in pages. The API server's way to list by a
// watch would gather the whole cluster's objects first.
type pages struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is how a reflector is told.
func (pages) IsWatchListSemanticsUnSupported() bool { return true }
