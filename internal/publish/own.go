package publish

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/api"
)

// provisionerPrefix begins the name under which the established static
// provisioner, and Berth in its place, write themselves onto PersistentVolumes.
const provisionerPrefix = "local-volume-provisioner-"

// provisioner is the name under which a node's volumes are published.
func (n Node) provisioner(nameOnly bool) string {
	if nameOnly {
		return provisionerPrefix + n.Name
	}
	return provisionerPrefix + n.Name + "-" + n.UID
}

// uidForm is a UID as API servers give them out.
var uidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// made reports whether a provisioner's name is that of this node: with its UID,
// with the UID of an earlier Node object of that name, or without one.
func (n Node) made(provisioner string) bool {
	rest, ok := strings.CutPrefix(provisioner, provisionerPrefix+n.Name)
	uid, dashed := strings.CutPrefix(rest, "-")
	return ok && (rest == "" || dashed && (uid == n.UID || uidForm.MatchString(uid)))
}

// Labelled reports whether a PersistentVolume has this node's label, so that it
// is in the watch.
func (n Node) Labelled(pv *corev1.PersistentVolume) bool {
	return pv.Labels[api.LabelNode] == NodeLabelValue(n.Name)
}

// Adoptable reports whether a PersistentVolume without a label is this node's:
// the established static provisioner made it, from before Berth, or it is a
// carved volume that somebody has taken the label off.
func (n Node) Adoptable(pv *corev1.PersistentVolume) bool {
	_, labelled := pv.Labels[api.LabelNode]
	if labelled {
		return false
	}
	return pv.Spec.Local != nil && n.made(pv.Annotations[api.AnnProvisionedBy]) || Carved(pv) && n.carvedMisfit(pv) == ""
}

// Misfit says why a PersistentVolume that claims to be this node's is not, "" when
// it is. It has to name the node in both places: a node's name can look like
// another's with a UID, and a hostname can be given to another node.
func (n Node) Misfit(pv *corev1.PersistentVolume) string {
	by := pv.Annotations[api.AnnProvisionedBy]
	switch {
	case Carved(pv):
		return n.carvedMisfit(pv)
	case pv.Spec.Local == nil:
		return "it is not a local volume"
	case by == "":
		return "it has no annotation " + api.AnnProvisionedBy
	case !n.made(by):
		return fmt.Sprintf("its annotation %s is %q, which is not this node's", api.AnnProvisionedBy, by)
	case !pinned(pv, corev1.LabelHostname, n.Hostname):
		return fmt.Sprintf("its node affinity does not name this node (%s In [%s])", corev1.LabelHostname, n.Hostname)
	}
	return ""
}

// pinned reports whether one of the terms of a PersistentVolume's node affinity
// is exactly that its pods run where the node's label has the value.
func pinned(pv *corev1.PersistentVolume, label, value string) bool {
	if pv.Spec.NodeAffinity == nil || pv.Spec.NodeAffinity.Required == nil {
		return false
	}
	return slices.ContainsFunc(pv.Spec.NodeAffinity.Required.NodeSelectorTerms, func(t corev1.NodeSelectorTerm) bool {
		if len(t.MatchExpressions) != 1 || len(t.MatchFields) != 0 {
			return false
		}
		e := t.MatchExpressions[0]
		return e.Key == label && e.Operator == corev1.NodeSelectorOpIn && len(e.Values) == 1 && e.Values[0] == value
	})
}

// Elsewhere reports whether a PersistentVolume that is not this node's to look
// after nevertheless gives pods on this node a path: somebody wrote it by hand,
// or forged its annotation.
func (n Node) Elsewhere(pv *corev1.PersistentVolume) bool {
	_, labelled := pv.Labels[api.LabelNode]
	return !labelled && pv.Spec.Local != nil && pinned(pv, corev1.LabelHostname, n.Hostname) && !n.made(pv.Annotations[api.AnnProvisionedBy])
}
