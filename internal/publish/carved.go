package publish

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/volume"
)

// CarvedSpec is all that goes into the PersistentVolume of a volume out of a
// pool. The kubelet mounts it through Berth's CSI services, so it has a handle
// and no path.
type CarvedSpec struct {
	Name          string // of the PV
	Class         string
	Handle        string // by which the kubelet asks for it; it ends in "/" and the volume's ID in its pool
	Identity      disk.ID
	CapacityBytes int64
	Block         bool // volume mode Block
	AccessModes   []string
	FSType        string // on a device; "" leaves it out
	Reclaim       corev1.PersistentVolumeReclaimPolicy
	MountOptions  []string
	Claim         volume.Claim      // the only one that may have it; without a UID whichever has that name
	Attributes    map[string]string // that the kubelet hands to the CSI services
	NodeLabels    []string          // labels of the node to copy
	Labels        map[string]string // to put on top
	Owned         bool              // the Node object owns it
}

// CarvedVolume builds the object for a volume out of a pool. The volume
// controller leaves its clean-up to the provisioner that the annotation names.
func CarvedVolume(s CarvedSpec, n Node) *corev1.PersistentVolume {
	meta := metav1.ObjectMeta{
		Name:        s.Name,
		Labels:      n.labels(s.NodeLabels, s.Labels),
		Annotations: map[string]string{api.AnnProvisionedBy: api.Driver, api.AnnIdentity: string(s.Identity)},
		Finalizers:  []string{api.Finalizer},
	}
	if s.Owned {
		meta.OwnerReferences = []metav1.OwnerReference{n.owner()}
	}
	attributes := maps.Clone(s.Attributes)
	if NodeLabelValue(n.Name) != n.Name { // the name itself, for whoever has to know whether that node is gone
		if attributes == nil {
			attributes = map[string]string{}
		}
		attributes[api.LabelNode] = n.Name
	}
	modes := make([]corev1.PersistentVolumeAccessMode, len(s.AccessModes))
	for i, mode := range s.AccessModes {
		modes[i] = corev1.PersistentVolumeAccessMode(mode)
	}
	return &corev1.PersistentVolume{
		ObjectMeta: meta,
		Spec: corev1.PersistentVolumeSpec{
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: s.Claim.Namespace, Name: s.Claim.Name, UID: types.UID(s.Claim.UID),
			},
			Capacity:                      storage(s.CapacityBytes),
			AccessModes:                   modes,
			PersistentVolumeReclaimPolicy: s.Reclaim,
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: api.Driver, VolumeHandle: s.Handle, FSType: s.FSType, VolumeAttributes: attributes,
			}},
			StorageClassName: s.Class,
			MountOptions:     slices.Clone(s.MountOptions),
			VolumeMode:       modeOf(s.Block),
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: api.LabelNode, Operator: corev1.NodeSelectorOpIn, Values: []string{NodeLabelValue(n.Name)},
				}}}},
			}},
		},
	}
}

// Carved reports whether a PersistentVolume is of a volume that Berth carved for
// a claim. One with neither Berth's annotation nor its finalizer is another
// provisioner's, which has asked Berth's CSI services for the volume and looks
// after the object itself. Either will do, so that nobody makes Berth blind to
// its own by taking the annotation off.
func Carved(pv *corev1.PersistentVolume) bool {
	if pv.Spec.CSI == nil || pv.Spec.CSI.Driver != api.Driver {
		return false
	}
	return pv.Annotations[api.AnnIdentity] != "" || slices.Contains(pv.Finalizers, api.Finalizer)
}

// CarvedNode is the label value of the node of a volume that Berth carved and the
// claim of that UID has; "" for any other PersistentVolume.
func CarvedNode(pv *corev1.PersistentVolume, claimUID string) string {
	if !Carved(pv) || pv.Spec.ClaimRef == nil || string(pv.Spec.ClaimRef.UID) != claimUID {
		return ""
	}
	if a := pv.Spec.NodeAffinity; a != nil && a.Required != nil {
		for _, t := range a.Required.NodeSelectorTerms {
			for _, e := range t.MatchExpressions {
				if len(e.Values) == 1 && pinned(pv, api.LabelNode, e.Values[0]) {
					return e.Values[0]
				}
			}
		}
	}
	return ""
}

// handleIdentity is the identity of the volume with this handle. The object's
// source cannot be changed, unlike the annotation with the identity.
func handleIdentity(handle string) disk.ID {
	return volume.CarvedIdentity(handle[strings.LastIndex(handle, "/")+1:])
}

// carvedMisfit says why the PersistentVolume of a carved volume is not this
// node's, "" when it is. The label does not count: anybody may have taken it
// off.
func (n Node) carvedMisfit(pv *corev1.PersistentVolume) string {
	identity := disk.ID(pv.Annotations[api.AnnIdentity])
	switch by := pv.Annotations[api.AnnProvisionedBy]; {
	case by != api.Driver:
		return fmt.Sprintf("its annotation %s is %q, not %s", api.AnnProvisionedBy, by, api.Driver)
	case identity != "" && identity != handleIdentity(pv.Spec.CSI.VolumeHandle):
		return fmt.Sprintf("its annotation %s is %q, which is not the volume of its handle %q", api.AnnIdentity, identity, pv.Spec.CSI.VolumeHandle)
	case !pinned(pv, api.LabelNode, NodeLabelValue(n.Name)):
		return fmt.Sprintf("its node affinity does not name this node (%s In [%s])", api.LabelNode, NodeLabelValue(n.Name))
	}
	return ""
}
