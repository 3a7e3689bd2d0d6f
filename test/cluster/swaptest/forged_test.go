//go:build cluster

package swaptest

import (
	"context"
	"fmt"
	"path"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/stage"
)

// PersistentVolumes that somebody has forged, each released by a claim that never
// was, so that whoever took them for its own would wipe what is there. They are
// left alone, and so is the data; an event tells of each.
func TestClusterForgedVolumes(t *testing.T) {
	e := begin(t)
	e.uninstall()
	begun := time.Now()
	e.fill("/mnt/disks2/outside", "/mnt/disks2")
	e.fill("/mnt/disks/forged-deep/below", "/mnt/disks/forged-deep")
	e.AddDisk("node-1", cluster.Disk{Name: "forged-disk", FS: "ext4", Bytes: bytes})
	disk := stage.PathOf("forged-disk", "ext4")
	e.fill(disk, disk+"/a")

	forge := func(name, at string, change func(pv *corev1.PersistentVolume)) *corev1.PersistentVolume {
		pv := e.oldObject("node-1", at, withUID)
		pv.Name, pv.Spec.StorageClassName = name, diskClass
		pv.Spec.ClaimRef = &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: e.Space.Name, Name: "never-was", UID: "12345678-1234-1234-1234-123456789012"}
		if change != nil {
			change(pv)
		}
		return pv
	}
	by := func(maker string) func(*corev1.PersistentVolume) {
		return func(pv *corev1.PersistentVolume) { pv.Annotations[api.AnnProvisionedBy] = maker }
	}
	var forged []*corev1.PersistentVolume
	for _, pv := range []*corev1.PersistentVolume{
		forge("forged-node", disk, by("local-volume-provisioner-node-2")),
		forge("forged-maker", disk, by("example.com/somebody")),
		forge("forged-beside", "/mnt/disks2/outside", nil),
		forge("forged-deep", "/mnt/disks/forged-deep/below", nil),
		forge("forged-affinity", disk, func(pv *corev1.PersistentVolume) {
			pv.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Values[0] = "node-2"
		}),
	} {
		made := e.create(pv)
		e.after(func() {
			e.Must(e.C.Client().CoreV1().PersistentVolumes().Delete(e.Ctx, made.Name, metav1.DeleteOptions{}))
		})
		e.Until(made.Name+" to be Released", func(context.Context) error {
			if now := e.now(made); now.Status.Phase != corev1.VolumeReleased {
				return fmt.Errorf("it is %q", now.Status.Phase)
			}
			return nil
		})
		forged = append(forged, made)
	}
	// This one the API server refuses.
	_, err := e.C.Client().CoreV1().PersistentVolumes().Create(e.Ctx, forge("forged-up", "/mnt/disks/../disks2/outside", nil), metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) {
		t.Errorf("a path with two dots was not refused: %v", err)
	}
	before := e.versions()

	e.install(cluster.BerthImage)
	for _, pv := range forged {
		e.Event(begun, "PersistentVolume", pv.Name, "ForeignVolume", "left alone")
	}
	e.Disk("node-1", "forged-next", "ext4", bytes)
	e.unwritten(before)
	for _, dir := range []string{"/mnt/disks2/outside", "/mnt/disks/forged-deep/below", disk} {
		if out, err := e.C.Node("node-1").Exec(e.Ctx, "cat", path.Join(dir, "a")); err != nil || out != "theirs\n" {
			t.Errorf("%s: its file says %q (%v)", dir, out, err)
		}
	}
}

// fill makes a directory on a node with a file in it, and removes what is named
// at the end of the test.
func (e *env) fill(dir, remove string) {
	e.Helper()
	node := e.C.Node("node-1")
	_, err := node.Exec(e.Ctx, "sh", "-ec", `mkdir -p "$0" && echo theirs >"$0/a"`, dir)
	e.Must(err)
	e.after(func() {
		_, err := node.Exec(e.Ctx, "rm", "-r", remove)
		e.Must(err)
	})
}
