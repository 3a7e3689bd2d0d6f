package placement

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// A claim is what is kept of one that no volume is bound to; others have been
// placed for good.
type claim struct {
	volume.Claim
	class       string
	bytes       int64
	node        string    // the annotation: the name of the chosen node, "" for none
	label       string    // api.LabelNode, as it stands there; "" for none
	labels      bool      // it has a label, whichever
	annotations bool      // it has an annotation, whichever
	announced   bool      // Kubernetes has said on it that Berth is to make its volume
	at          time.Time // when the watch has shown it
}

// annProvisioner is where Kubernetes' controller manager names the provisioner that
// is to make a claim's volume. It writes that as soon as a node is chosen, or at
// once where none has to be. Whoever writes to the claim before makes it fail, and
// it says so in a warning about the claim.
const annProvisioner = "volume.kubernetes.io/storage-provisioner"

func (c claim) key() string { return c.Namespace + "/" + c.Name }

func viewClaim(obj any) (string, claim, bool, error) {
	o, ok := obj.(*corev1.PersistentVolumeClaim)
	if !ok {
		return "", claim{}, false, fmt.Errorf("watching claims: got a %T", obj)
	}
	c := claim{
		Claim:       volume.Claim{Namespace: o.Namespace, Name: o.Name, UID: string(o.UID)},
		class:       publish.ClassOf(o),
		bytes:       o.Spec.Resources.Requests.Storage().Value(),
		node:        o.Annotations[publish.AnnSelectedNode],
		label:       o.Labels[api.LabelNode],
		labels:      len(o.Labels) > 0,
		annotations: len(o.Annotations) > 0,
		announced:   o.Annotations[annProvisioner] == api.Driver,
		at:          time.Now(),
	}
	return c.key(), c, o.Spec.VolumeName == "" && o.DeletionTimestamp == nil && c.class != "", nil
}

// A class is what is kept of a StorageClass that Berth provisions.
type class struct {
	immediate bool   // claims get a volume before a pod wants it
	pool      string // the name of the pool; "" for the only one of a node
	allowed   []corev1.TopologySelectorTerm
}

// poolParameter names the pool in a StorageClass.
const poolParameter = "pool"

func viewClass(obj any) (string, class, bool, error) {
	o, ok := obj.(*storagev1.StorageClass)
	if !ok {
		return "", class{}, false, fmt.Errorf("watching storage classes: got a %T", obj)
	}
	c := class{
		immediate: o.VolumeBindingMode == nil || *o.VolumeBindingMode == storagev1.VolumeBindingImmediate,
		pool:      o.Parameters[poolParameter],
		allowed:   o.AllowedTopologies,
	}
	return o.Name, c, o.Provisioner == api.Driver, nil
}

// allows reports whether volumes of the class may be on the node: one of the
// terms holds, with all it says, or there is none.
func (c class) allows(n node) bool {
	return len(c.allowed) == 0 || slices.ContainsFunc(c.allowed, func(t corev1.TopologySelectorTerm) bool {
		return !slices.ContainsFunc(t.MatchLabelExpressions, func(e corev1.TopologySelectorLabelRequirement) bool {
			value, ok := n.labels[e.Key]
			return !ok || !slices.Contains(e.Values, value)
		})
	})
}

// sharesPool reports whether volumes of two classes may lie in the same pool.
func (c class) sharesPool(d class) bool { return c.pool == d.pool || c.pool == "" || d.pool == "" }

// A node is what is kept of a Node.
type node struct {
	name   string
	usable bool // pods can start there
	labels map[string]string
}

func viewNode(obj any) (string, node, bool, error) {
	o, ok := obj.(*corev1.Node)
	if !ok {
		return "", node{}, false, fmt.Errorf("watching nodes: got a %T", obj)
	}
	ready := slices.ContainsFunc(o.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	return o.Name, node{name: o.Name, usable: ready && !o.Spec.Unschedulable, labels: o.Labels}, true, nil
}

// A room is what a node's agent says that it has for a class.
type room struct {
	class         string
	node          string // as api.LabelNode has it
	free, largest int64  // bytes
}

func viewRoom(obj any) (string, room, bool, error) {
	o, ok := obj.(*storagev1.CSIStorageCapacity)
	if !ok {
		return "", room{}, false, fmt.Errorf("watching storage capacity: got a %T", obj)
	}
	r := room{class: o.StorageClassName, node: o.Labels[api.LabelNode]}
	if o.Capacity != nil && o.MaximumVolumeSize != nil {
		r.free, r.largest = o.Capacity.Value(), o.MaximumVolumeSize.Value()
	}
	return o.Namespace + "/" + o.Name, r, r.node != "", nil
}
