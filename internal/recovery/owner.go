package recovery

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
)

// provisionerPrefix begins the name of the provisioner of a found volume, which
// goes on with the node's name and, mostly, a dash and the node's UID.
const provisionerPrefix = "local-volume-provisioner-"

// hashedNode begins the value of api.LabelNode where it is a hash of the node's
// name.
const hashedNode = "sha256-"

var endsInUID = regexp.MustCompile(`-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// Owner is which nodes a volume may be on.
type Owner struct {
	// Hostnames are the values of kubernetes.io/hostname that the volume's
	// affinity allows.
	Hostnames []string
	// Names are the node's name as far as the PV tells it otherwise: by label, by
	// its provisioner, or, for a carved volume, by its affinity. A provisioner's
	// name can be read in two ways, so there may be more than one.
	Names []string
	// Label is the value of api.LabelNode, "" if there is none.
	Label string
	// Uncertain says why the nodes are not certain, "" if they are.
	Uncertain string
}

// OwnerOf reads from a PV which nodes it may be on. It is certain only where
// every term of the required node affinity pins the hostname, or, for a carved
// volume, the label that Berth gives to a node.
func OwnerOf(pv *corev1.PersistentVolume) Owner {
	o := Owner{Label: pv.Labels[api.LabelNode]}
	if o.Label != "" && !strings.HasPrefix(o.Label, hashedNode) {
		o.Names = append(o.Names, o.Label)
	}
	if name, ok := strings.CutPrefix(pv.Annotations[api.AnnProvisionedBy], provisionerPrefix); ok && name != "" {
		o.Names = append(o.Names, name)
		if at := endsInUID.FindStringIndex(name); at != nil && at[0] > 0 {
			o.Names = append(o.Names, name[:at[0]])
		}
	}
	if pv.Spec.CSI == nil {
		o.Hostnames, o.Uncertain = pins(pv.Spec.NodeAffinity, corev1.LabelHostname)
	} else {
		var values []string
		values, o.Uncertain = pins(pv.Spec.NodeAffinity, api.LabelNode)
		for _, value := range values {
			if name := nodeOf(value, pv.Spec.CSI.VolumeAttributes[api.LabelNode]); name != "" {
				o.Names = append(o.Names, name)
			} else {
				o.Uncertain = fmt.Sprintf("of its node's name it has the hash %s only", value)
			}
		}
	}
	o.Names = set(o.Names)
	return o
}

// nodeOf is the name of the node whose label api.LabelNode has the value. Where
// that is a hash, it is the name that the PV has beside, if its hash is that.
func nodeOf(value, beside string) string {
	switch {
	case !strings.HasPrefix(value, hashedNode):
		return value
	case publish.NodeLabelValue(beside) == value:
		return beside
	}
	return ""
}

// pins returns the values of a node's label that an affinity allows, or why it
// allows others too.
func pins(a *corev1.VolumeNodeAffinity, label string) (names []string, uncertain string) {
	if a == nil || a.Required == nil || len(a.Required.NodeSelectorTerms) == 0 {
		return nil, "it has no required node affinity"
	}
	for i, term := range a.Required.NodeSelectorTerms {
		pinned := false
		for _, e := range term.MatchExpressions {
			if e.Key != label || e.Operator != corev1.NodeSelectorOpIn {
				continue
			}
			if len(e.Values) == 0 || slices.Contains(e.Values, "") {
				return nil, fmt.Sprintf("term %d of its node affinity has an empty value of %s", i+1, label)
			}
			pinned = true
			names = append(names, e.Values...) // of two expressions both must hold; all counts for more nodes, not fewer
		}
		if !pinned {
			return nil, fmt.Sprintf("term %d of its node affinity does not say %s In …", i+1, label)
		}
	}
	return set(names), ""
}

// Nodes are the names under which the volume's nodes may be known, and under
// which none may exist if the volume's node is to count as gone.
func (o Owner) Nodes() []string { return set(append(slices.Clone(o.Names), o.Hostnames...)) }

// IDs are all that a node with the volume may be called by: name, hostname or
// label value.
func (o Owner) IDs() []string {
	ids := o.Nodes()
	if o.Label != "" {
		ids = append(ids, o.Label)
	}
	return set(ids)
}

// key tells owners apart.
func (o Owner) key() string { return strings.Join(o.IDs(), " ") }

// String names the owner to people, by the shortest name: the longer reading of
// a provisioner's name has a UID in it.
func (o Owner) String() string {
	if len(o.Names) == 0 {
		return strings.Join(o.Hostnames, ", ")
	}
	return slices.MinFunc(o.Names, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
}

func set(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
