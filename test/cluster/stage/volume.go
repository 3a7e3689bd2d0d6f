//go:build cluster

package stage

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/pvwatch"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// Disk gives a node a disk of the test's own and returns its PersistentVolume.
func (e *Stage) Disk(node, name, fs string, bytes int64) *corev1.PersistentVolume {
	e.Helper()
	e.AddDisk(node, cluster.Disk{Name: name, FS: fs, Bytes: bytes})
	return e.Available(node, PathOf(name, fs), "")
}

// AddDisk gives a node a disk until the end of the test.
func (e *Stage) AddDisk(node string, d cluster.Disk) {
	e.Helper()
	_, _, err := e.C.Node(node).AddDisk(e.Ctx, d)
	e.Must(err)
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := e.Space.Empty(ctx); err != nil {
			e.Error(err)
		}
		// A wipe that is under way has the disk open.
		err := workload.Until(ctx, "disk "+d.Name+" to be removed", func(ctx context.Context) error {
			return e.C.Node(node).RemoveDisk(ctx, d.Name)
		})
		if err != nil {
			e.Error(err)
		}
	})
}

// PathOf is where a node shows a disk.
func PathOf(name, fs string) string {
	if fs == "none" {
		return path.Join(cluster.BlocksDir, name)
	}
	return path.Join(cluster.DisksDir, name)
}

// Available waits until a path has an Available PersistentVolume, and one with
// another UID than the given one.
func (e *Stage) Available(node, path string, not types.UID) *corev1.PersistentVolume {
	e.Helper()
	return e.Await(node, path, "Available", func(pv *corev1.PersistentVolume) bool {
		return pv.UID != not && pv.Status.Phase == corev1.VolumeAvailable && pv.DeletionTimestamp == nil
	})
}

// Await waits until the PersistentVolume of a path is as it should be.
func (e *Stage) Await(node, path, what string, ok func(*corev1.PersistentVolume) bool) (found *corev1.PersistentVolume) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Ctx, Patience)
	defer cancel()
	e.Must(e.PVs.Wait(ctx, fmt.Sprintf("the volume of %s:%s to be %s", node, path, what), func(all []*corev1.PersistentVolume) error {
		found = pvwatch.Find(all, node, path)
		switch {
		case found == nil:
			return errors.New("it has no PersistentVolume")
		case !ok(found):
			return fmt.Errorf("%s (UID %s) is %s", found.Name, found.UID, found.Status.Phase)
		}
		return nil
	}))
	return found
}

// Absent waits until a path has no PersistentVolume.
func (e *Stage) Absent(node, path string) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Ctx, Patience)
	defer cancel()
	e.Must(e.PVs.Wait(ctx, "the volume of "+path+" to be withdrawn", func(all []*corev1.PersistentVolume) error {
		if pv := pvwatch.Find(all, node, path); pv != nil {
			return fmt.Errorf("%s is %s", pv.Name, pv.Status.Phase)
		}
		return nil
	}))
}

// pod is one that has every volume by a claim of the volume's name, and does
// something with each: script and block are what, as $0.
func pod(name, script, block string, pvs ...*corev1.PersistentVolume) workload.Pod {
	p := workload.Pod{Name: name}
	for _, pv := range pvs {
		c := workload.Claim{Name: pv.Name, Class: pv.Spec.StorageClassName, PV: pv.Name, Block: *pv.Spec.VolumeMode == corev1.PersistentVolumeBlock}
		do, at := script, "/"+c.Name
		if c.Block {
			do, at = block, "/dev/"+c.Name
		}
		p.Claims = append(p.Claims, c)
		p.Script += fmt.Sprintf("sh -ec '%s' %s || exit 1\n", do, at)
	}
	return p
}

// Writer is a pod that writes the word secret to volumes, by claims of their
// names.
func Writer(pvs ...*corev1.PersistentVolume) workload.Pod {
	return pod("writer", "echo secret >$0/a; sync", "echo secret >$0; sync", pvs...)
}

// Release has volumes used by a pod that leaves something secret, and released.
func (e *Stage) Release(pvs ...*corev1.PersistentVolume) {
	e.Helper()
	w := Writer(pvs...)
	e.RunPod(w)
	e.Must(e.Space.Drop(e.Ctx, w))
}

// NothingLeft claims volumes for a new pod, which must find nothing in them, and
// gives them back.
func (e *Stage) NothingLeft(pvs ...*corev1.PersistentVolume) {
	e.Helper()
	reader := pod("reader-"+string(pvs[0].UID), "find $0 -mindepth 1 ! -path $0/lost+found | head", `tr -d "\0" <$0 | head -c 100`, pvs...)
	if found := e.RunPod(reader); found != "" {
		e.Errorf("a new pod with %d volumes, the first of them %s, found %q", len(pvs), pvs[0].Name, found)
	}
	e.Must(e.Space.Drop(e.Ctx, reader))
	for _, pv := range pvs {
		e.Available(pvwatch.Node(pv), pv.Spec.Local.Path, pv.UID)
	}
}

// Tainted waits until a node has, or has not, a taint of a key.
func (e *Stage) Tainted(node, key string, want bool) {
	e.Helper()
	e.Until(fmt.Sprintf("taint %s on %s: %v", key, node, want), func(ctx context.Context) error {
		n, err := e.C.Client().CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if has := slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == key }); has != want {
			return fmt.Errorf("its taints are %v", n.Spec.Taints)
		}
		return nil
	})
}
