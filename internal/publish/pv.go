package publish

import (
	"crypto/sha256"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/volume"
)

// Node is what PersistentVolumes need to know of the node they are on.
type Node struct {
	Name     string
	UID      string
	Hostname string            // the value of its label kubernetes.io/hostname, which the scheduler matches
	Labels   map[string]string // all labels
	Tainted  bool              // it had api.TaintDiskGone when it was read
}

// Spec is all that goes into one PersistentVolume.
type Spec struct {
	Name          string // of the PV
	Class         string
	Path          string // on the node
	Identity      disk.ID
	CapacityBytes int64
	Block         bool // volume mode Block
	AccessMode    string
	FSType        string // "" leaves it to Kubernetes
	ReadOnly      bool
	Reclaim       corev1.PersistentVolumeReclaimPolicy
	MountOptions  []string
	NodeLabels    []string                  // labels of the node to copy
	Labels        map[string]string         // to put on top
	Selector      []corev1.NodeSelectorTerm // ORed onto the term that names the node
	Owned         bool                      // the Node object owns it
	NodeNameOnly  bool                      // its provisioner's name goes without the node's UID
	Unheld        bool                      // it goes without Berth's finalizer
	For           *volume.Claim             // the only claim that may have it, by name; nil for any
}

// Name is the name of the PersistentVolume for an entry of a class on a node.
// It is the established static provisioner's: FNV-1a 32 over the three with
// nothing between.
func Name(entry, node, class string) string {
	h := fnv.New32a()
	h.Write([]byte(entry + node + class)) // never fails
	return fmt.Sprintf("local-pv-%x", h.Sum32())
}

// LongName is the name for a volume whose Name another volume has already.
func LongName(entry, node, class string) string {
	sum := sha256.Sum256([]byte(entry + "\x00" + node + "\x00" + class))
	return fmt.Sprintf("%s-%x", Name(entry, node, class), sum[:8])
}

// NodeLabelValue is the value of the label api.LabelNode for a node: its name,
// or where that is longer than a label may be (63), a hash of it.
func NodeLabelValue(node string) string {
	if len(node) <= 63 {
		return node
	}
	sum := sha256.Sum256([]byte(node))
	return fmt.Sprintf("sha256-%x", sum[:24])
}

// RoundCapacity rounds a size in bytes down to whole GiB from 10 GiB on, to
// whole MiB from 10 MiB on, as the established static provisioner does.
func RoundCapacity(bytes int64) int64 {
	const mib, gib = 1 << 20, 1 << 30
	switch {
	case bytes >= 10*gib:
		return bytes / gib * gib
	case bytes >= 10*mib:
		return bytes / mib * mib
	}
	return bytes
}

// PersistentVolume builds the object for a found volume.
func PersistentVolume(s Spec, n Node) *corev1.PersistentVolume {
	local := &corev1.LocalVolumeSource{Path: s.Path}
	if s.FSType != "" {
		local.FSType = &s.FSType
	}
	options := slices.Clone(s.MountOptions)
	if s.ReadOnly && !slices.Contains(options, "ro") {
		options = append(options, "ro")
	}
	meta := metav1.ObjectMeta{
		Name:   s.Name,
		Labels: n.labels(s.NodeLabels, s.Labels),
		Annotations: map[string]string{
			api.AnnProvisionedBy: n.provisioner(s.NodeNameOnly),
			api.AnnIdentity:      string(s.Identity),
		},
	}
	if !s.Unheld {
		meta.Finalizers = []string{api.Finalizer}
	}
	if s.Owned {
		meta.OwnerReferences = []metav1.OwnerReference{n.owner()}
	}
	var claim *corev1.ObjectReference
	if s.For != nil { // without a UID: the claim may be made anew
		claim = &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: s.For.Namespace, Name: s.For.Name}
	}
	return &corev1.PersistentVolume{
		ObjectMeta: meta,
		Spec: corev1.PersistentVolumeSpec{
			ClaimRef:                      claim,
			Capacity:                      storage(s.CapacityBytes),
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.PersistentVolumeAccessMode(s.AccessMode)},
			PersistentVolumeReclaimPolicy: s.Reclaim,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: local},
			StorageClassName:              s.Class,
			MountOptions:                  options,
			VolumeMode:                    modeOf(s.Block),
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: append([]corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{n.Hostname},
				}}}}, s.Selector...),
			}},
		},
	}
}

// labels are those of a PersistentVolume of the node: copies of the node's own,
// others on top, and the one that names the node.
func (n Node) labels(copied []string, others map[string]string) map[string]string {
	labels := map[string]string{}
	for _, name := range copied {
		if v, ok := n.Labels[name]; ok {
			labels[name] = v
		}
	}
	maps.Copy(labels, others)
	labels[api.LabelNode] = NodeLabelValue(n.Name)
	return labels
}

// owner makes an object go when the Node object goes.
func (n Node) owner() metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: types.UID(n.UID)}
}

func modeOf(block bool) *corev1.PersistentVolumeMode {
	mode := corev1.PersistentVolumeFilesystem
	if block {
		mode = corev1.PersistentVolumeBlock
	}
	return &mode
}

func storage(bytes int64) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(bytes, resource.BinarySI)}
}

// View reads from the object what decisions need of it. The identity is empty
// where the object does not carry it: the established provisioner made it.
// Objects that are neither local nor carved volumes of Berth's give false.
func View(pv *corev1.PersistentVolume) (volume.PV, bool) {
	v := volume.PV{
		Name:            pv.Name,
		UID:             string(pv.UID),
		ResourceVersion: pv.ResourceVersion,
		Identity:        disk.ID(pv.Annotations[api.AnnIdentity]),
		Class:           pv.Spec.StorageClassName,
		Block:           pv.Spec.VolumeMode != nil && *pv.Spec.VolumeMode == corev1.PersistentVolumeBlock,
		CapacityBytes:   pv.Spec.Capacity.Storage().Value(),
		Released:        pv.Status.Phase == corev1.VolumeReleased,
		Delete:          pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete,
		Deleting:        pv.DeletionTimestamp != nil,
		State:           pv.Annotations[api.AnnState],
		Held:            slices.Contains(pv.Finalizers, api.Finalizer),
	}
	switch {
	case pv.Spec.Local != nil:
		v.Path = pv.Spec.Local.Path
	case Carved(pv):
		v.Handle, v.Path, v.Identity = pv.Spec.CSI.VolumeHandle, pv.Spec.CSI.VolumeHandle, handleIdentity(pv.Spec.CSI.VolumeHandle)
	default:
		return volume.PV{}, false
	}
	if c := pv.Spec.ClaimRef; c != nil {
		v.Claim = &volume.Claim{Namespace: c.Namespace, Name: c.Name, UID: string(c.UID)}
	}
	return v, true
}
