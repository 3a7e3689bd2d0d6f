package recovery

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/berth-storage/berth/internal/publish"
)

// WatchVolumes and WatchNodes keep a mirror up to date until ctx ends. Claims
// are not watched: the few that matter are read when they do.

func (c *client) WatchVolumes(ctx context.Context, into cache.ReflectorStore) {
	publish.FollowAll(ctx, c.core, c.codec, "persistentvolumes", "", &corev1.PersistentVolume{}, &corev1.PersistentVolumeList{}, into)
}

func (c *client) WatchNodes(ctx context.Context, into cache.ReflectorStore) {
	publish.FollowAll(ctx, c.core, c.codec, "nodes", "", &corev1.Node{}, &corev1.NodeList{}, into)
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
