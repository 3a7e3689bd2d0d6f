//go:build cluster

package swaptest

import (
	"fmt"
	"hash/fnv"
	"path"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/stage"
)

// maker is how the established provisioner wrote itself onto a volume.
type maker int

const (
	withUID maker = iota
	withoutUID
	// earlierUID is that of a Node object of the same name that is gone.
	earlierUID
)

func (m maker) name(node *corev1.Node) string {
	switch m {
	case withoutUID:
		return "local-volume-provisioner-" + node.Name
	case earlierUID:
		return "local-volume-provisioner-" + node.Name + "-0a1b2c3d-1111-2222-3333-444455556666"
	}
	return "local-volume-provisioner-" + node.Name + "-" + string(node.UID)
}

// bytes is the size of the tests' disks.
const bytes = 64 << 20

// old gives a node a disk and creates the PersistentVolume that the established
// provisioner would have made for it. No agent must run.
func (e *env) old(node, name, fs string, by maker) *corev1.PersistentVolume {
	e.Helper()
	e.AddDisk(node, cluster.Disk{Name: name, FS: fs, Bytes: bytes})
	pv := e.create(e.oldObject(node, stage.PathOf(name, fs), by))
	return e.Available(node, pv.Spec.Local.Path, "")
}

// create makes a PersistentVolume as somebody else does.
func (e *env) create(pv *corev1.PersistentVolume) *corev1.PersistentVolume {
	e.Helper()
	made, err := e.C.Client().CoreV1().PersistentVolumes().Create(e.Ctx, pv, metav1.CreateOptions{})
	e.Must(err)
	return made
}

// oldObject is what the established provisioner writes for a path.
func (e *env) oldObject(node, at string, by maker) *corev1.PersistentVolume {
	e.Helper()
	n, err := e.C.Client().CoreV1().Nodes().Get(e.Ctx, node, metav1.GetOptions{})
	e.Must(err)
	class, mode := diskClass, corev1.PersistentVolumeFilesystem
	if path.Dir(at) == cluster.BlocksDir {
		class, mode = blockClass, corev1.PersistentVolumeBlock
	}
	h := fnv.New32a()
	fmt.Fprint(h, path.Base(at)+node+class)
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        fmt.Sprintf("local-pv-%x", h.Sum32()),
			Annotations: map[string]string{api.AnnProvisionedBy: by.name(n)},
		},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: class, VolumeMode: &mode,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: e.capacity(node, at, mode)},
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: at}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{n.Labels[corev1.LabelHostname]},
				}},
			}}}},
		},
	}
	if mode == corev1.PersistentVolumeFilesystem {
		fsType := "ext4"
		pv.Spec.Local.FSType = &fsType
	}
	return pv
}

// capacity is the size of what is at a path, in whole MiB, as the tests' disks
// have less than 10 GiB.
func (e *env) capacity(node, at string, mode corev1.PersistentVolumeMode) resource.Quantity {
	e.Helper()
	args := []string{"stat", "-f", "-c", "%b %S", at}
	if mode == corev1.PersistentVolumeBlock {
		args = []string{"blockdev", "--getsize64", at}
	}
	out, err := e.C.Node(node).Exec(e.Ctx, args...)
	e.Must(err)
	size := int64(1)
	for _, field := range strings.Fields(out) {
		n, err := strconv.ParseInt(field, 10, 64)
		e.Must(err)
		size *= n
	}
	return *resource.NewQuantity(size>>20<<20, resource.BinarySI)
}

// now is a PersistentVolume as it is now, and that it is there.
func (e *env) now(pv *corev1.PersistentVolume) *corev1.PersistentVolume {
	e.Helper()
	now, err := e.C.Client().CoreV1().PersistentVolumes().Get(e.Ctx, pv.Name, metav1.GetOptions{})
	e.Must(err)
	return now
}

// same fails when a PersistentVolume is another object than it was.
func (e *env) same(pvs ...*corev1.PersistentVolume) {
	e.Helper()
	for _, pv := range pvs {
		if now := e.now(pv); now.UID != pv.UID || now.DeletionTimestamp != nil {
			e.Errorf("%s (%s) was made anew or deleted", pv.Name, pv.Spec.Local.Path)
		}
	}
}

// unwritten fails when a PersistentVolume that was there has been written since.
func (e *env) unwritten(before map[types.UID]string) {
	e.Helper()
	for uid, version := range e.versions() {
		if was, ok := before[uid]; ok && was != version {
			e.Errorf("the PersistentVolume with UID %s was written", uid)
		}
		delete(before, uid)
	}
	if len(before) > 0 {
		e.Errorf("%d PersistentVolumes are gone", len(before))
	}
}

// versions are the resource versions of all PersistentVolumes.
func (e *env) versions() map[types.UID]string {
	e.Helper()
	list, err := e.C.Client().CoreV1().PersistentVolumes().List(e.Ctx, metav1.ListOptions{})
	e.Must(err)
	all := map[types.UID]string{}
	for _, pv := range list.Items {
		all[pv.UID] = pv.ResourceVersion
	}
	return all
}
