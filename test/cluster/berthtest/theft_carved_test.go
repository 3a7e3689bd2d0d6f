//go:build cluster

package berthtest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/stage"
	"github.com/berth-storage/berth/test/cluster/workload"
)

const (
	selectedNode   = "volume.kubernetes.io/selected-node"
	noClass        = "nobody-carves-this"
	provisionerOf  = "volume.kubernetes.io/storage-provisioner"
	controllerUser = "system:serviceaccount:" + cluster.BerthNamespace + ":berth-controller"
)

// carvedTheft is what a token is tried on: a claim, a volume and a capacity
// object of its own node, and those of another.
type carvedTheft struct {
	*env
	client         kubernetes.Interface
	own, other     string // nodes
	claims         map[string]*corev1.PersistentVolumeClaim
	pvs            map[string]*corev1.PersistentVolume
	capacityPrefix string
}

// TestClusterCarvedTheft is guarantee 10 for what is carved: with the token of a
// node's agent, and even with all rights that a role could give it, nothing can
// be written but volumes, claims and capacity objects of that node, and of those
// no more than carving needs. And the controller's token changes of a claim where
// it is placed, and nothing else.
func TestClusterCarvedTheft(t *testing.T) {
	e := begin(t)
	e.giveAgentsEverything()
	s := &carvedTheft{env: e, claims: map[string]*corev1.PersistentVolumeClaim{}, pvs: map[string]*corev1.PersistentVolume{}, capacityPrefix: e.Space.Name + "-"}
	for _, node := range []string{"node-1", "node-2"} {
		s.place(node)
	}
	for _, pair := range [][2]string{{"node-1", "node-2"}, {"node-2", "node-1"}} {
		own, other := pair[0], pair[1]
		s.own, s.other, s.client = own, other, e.with(e.agentToken(own))
		e.policiesInForce(s.client, s.pvs[other].Name)
		for _, attempts := range [][]attempt{s.makes(), s.changes(), s.claimed(), s.capacities()} {
			for _, a := range attempts {
				t.Run(own+"'s token: "+a.name, func(t *testing.T) { a.check(t) })
			}
		}
	}
	acting := e.C.Config()
	acting.Impersonate = rest.ImpersonationConfig{UserName: controllerUser, Groups: []string{"system:masters"}}
	client, err := kubernetes.NewForConfig(acting)
	e.Must(err)
	s.client = client
	for _, a := range s.placing() {
		t.Run("the controller's token: "+a.name, func(t *testing.T) { a.check(t) })
	}
}

// place makes a claim that is placed on a node, the volume that was carved for
// it, and a capacity object. No class is theirs, so that no agent takes part.
func (s *carvedTheft) place(node string) {
	claim := workload.Claim{Name: "on-" + node, Class: noClass}.Object()
	claim.Labels = map[string]string{api.LabelNode: node, "app": "a"}
	claim.Annotations = map[string]string{selectedNode: node, "note": "n"}
	claim, err := s.C.Client().CoreV1().PersistentVolumeClaims(s.Space.Name).Create(s.Ctx, claim, metav1.CreateOptions{})
	s.Must(err)
	s.claims[node] = claim
	pv, err := s.C.Client().CoreV1().PersistentVolumes().Create(s.Ctx, s.volume(node), metav1.CreateOptions{})
	s.Must(err)
	s.pvs[node] = pv
	_, err = s.C.Client().StorageV1().CSIStorageCapacities(cluster.BerthNamespace).Create(s.Ctx, s.capacity(node), metav1.CreateOptions{})
	s.Must(err)
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stage.Patience)
		defer cancel()
		err := s.C.Client().StorageV1().CSIStorageCapacities(cluster.BerthNamespace).Delete(ctx, s.capacityPrefix+node, metav1.DeleteOptions{})
		if err := errors.Join(err, s.C.Client().CoreV1().PersistentVolumes().Delete(ctx, pv.Name, metav1.DeleteOptions{})); err != nil {
			s.Error(err)
		}
	})
}

// volume is a claim's that has gone, so that none is bound to it, as the node's
// agent would make it but for the finalizer and the identity, without which no
// agent takes it for its own.
func (s *carvedTheft) volume(node string) *corev1.PersistentVolume {
	uid := "gone-from-" + node
	pv := &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{
		StorageClassName: noClass, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Mi")},
		ClaimRef: &corev1.ObjectReference{Namespace: s.Space.Name, Name: uid, UID: types.UID(uid)},
		NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: api.LabelNode, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}}}}}},
	}}
	pv.Name = "pvc-" + uid
	pv.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: api.Driver, VolumeHandle: "0123456789ab/fast/" + pv.Name}
	pv.Labels = map[string]string{api.LabelNode: node}
	pv.Annotations = map[string]string{api.AnnProvisionedBy: api.Driver}
	return pv
}

func (s *carvedTheft) capacity(node string) *storagev1.CSIStorageCapacity {
	c := &storagev1.CSIStorageCapacity{StorageClassName: noClass, Capacity: new(resource.MustParse("1Gi")),
		NodeTopology: &metav1.LabelSelector{MatchLabels: map[string]string{api.LabelNode: node}}}
	c.Name = s.capacityPrefix + node
	return c
}

// create tries to make another volume of the own node, but for a change.
func (s *carvedTheft) create(changes ...change) func() error {
	return func() error {
		pv := s.volume(s.own)
		pv.Spec.ClaimRef.UID += "-new"
		pv.Name += "-new"
		pv.Spec.CSI.VolumeHandle += "-new"
		for _, c := range changes {
			c(pv)
		}
		_, err := s.client.CoreV1().PersistentVolumes().Create(s.Ctx, pv, metav1.CreateOptions{DryRun: dryRun})
		return err
	}
}

func (s *carvedTheft) makes() []attempt {
	const foreign = "may write only volumes carved on that node"
	placed := func(pv *corev1.PersistentVolume) { pv.Spec.NodeAffinity = s.pvs[s.other].Spec.NodeAffinity }
	labelled := func(pv *corev1.PersistentVolume) { pv.Labels[api.LabelNode] = s.other }
	const forClaim = "a carved volume is made for a claim"
	return []attempt{
		{"carve for a claim", s.create(), ""},
		{"carve for a claim of a name", s.create(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "" }), ""},
		{"carve on another node", s.create(placed, labelled), "may only label volumes for its own node"},
		{"carve where pods on another node find it", s.create(placed), foreign},
		{"carve where pods everywhere find it", s.create(func(pv *corev1.PersistentVolume) {
			terms := &pv.Spec.NodeAffinity.Required.NodeSelectorTerms
			*terms = append(*terms, s.pvs[s.other].Spec.NodeAffinity.Required.NodeSelectorTerms...)
		}), foreign},
		{"carve by host name", s.create(func(pv *corev1.PersistentVolume) {
			pv.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Key = corev1.LabelHostname
		}), foreign},
		{"carve with another's label", s.create(labelled), "may only label volumes for its own node"},
		{"carve in another provisioner's name", s.create(func(pv *corev1.PersistentVolume) {
			pv.Annotations[api.AnnProvisionedBy] = "example.com"
		}), foreign},
		{"carve for another driver", s.create(func(pv *corev1.PersistentVolume) { pv.Spec.CSI.Driver = "example.com" }), "may write only volumes that it published"},
		{"carve for whoever comes", s.create(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef = nil }), forClaim},
		{"carve a second one for a claim", s.create(func(pv *corev1.PersistentVolume) {
			pv.Spec.ClaimRef.UID = s.claims[s.other].UID
		}), forClaim},
		{"carve with another's handle", s.create(func(pv *corev1.PersistentVolume) {
			pv.Spec.CSI.VolumeHandle = s.pvs[s.other].Spec.CSI.VolumeHandle
		}), forClaim},
		{"be handed a Secret", s.create(func(pv *corev1.PersistentVolume) {
			pv.Spec.CSI.NodeStageSecretRef = &corev1.SecretReference{Namespace: "kube-system", Name: "a"}
		}), "refer to no Secret"},
	}
}

func (s *carvedTheft) changes() []attempt {
	const foreign, more = "of another node", "its capacity to more"
	patch := func(node, part string, fields map[string]any, sub ...string) func() error {
		return (&theft{env: s.env, client: s.client}).patch(s.pvs[node].Name, part, fields, sub...)
	}
	size := func(bytes string) map[string]any {
		return map[string]any{"capacity": map[string]string{"storage": bytes}}
	}
	annotation := map[string]any{"annotations": map[string]string{api.AnnState: "x"}}
	remove := func(node string) func() error {
		return func() error {
			return s.client.CoreV1().PersistentVolumes().Delete(s.Ctx, s.pvs[node].Name, metav1.DeleteOptions{DryRun: dryRun})
		}
	}
	return []attempt{
		{"annotate the own carved", patch(s.own, "metadata", annotation), ""},
		{"grow the own", patch(s.own, "spec", size("3Mi")), ""},
		{"delete the own", remove(s.own), ""},
		{"shrink the own", patch(s.own, "spec", size("1Mi")), more},
		{"keep the own from being wiped", patch(s.own, "spec", map[string]any{"persistentVolumeReclaimPolicy": "Delete"}), more},
		{"grow the own and more", patch(s.own, "spec", map[string]any{"capacity": map[string]string{"storage": "3Mi"}, "mountOptions": []string{"suid"}}), more},
		{"rebind the own", patch(s.own, "spec", map[string]any{"claimRef": map[string]any{"uid": nil}}), more},
		{"release the own", patch(s.own, "status", map[string]any{"phase": "Released"}, "status"), "status"},
		{"label the own for another node", patch(s.own, "metadata", map[string]any{"labels": map[string]any{api.LabelNode: s.other}}), "may only label volumes for its own node"},
		{"annotate another's carved", patch(s.other, "metadata", annotation), foreign},
		{"grow another's", patch(s.other, "spec", size("3Mi")), foreign},
		{"take another's", patch(s.other, "metadata", map[string]any{"labels": map[string]any{api.LabelNode: s.own}}), foreign},
		{"delete another's", remove(s.other), foreign},
	}
}

// write tries to merge fields into a node's claim.
func (s *carvedTheft) write(node string, fields map[string]any, sub ...string) func() error {
	return func() error {
		data, err := json.Marshal(fields)
		s.Must(err)
		_, err = s.client.CoreV1().PersistentVolumeClaims(s.Space.Name).Patch(s.Ctx, s.claims[node].Name, types.MergePatchType, data, metav1.PatchOptions{DryRun: dryRun}, sub...)
		return err
	}
}

// metadata are fields of a claim's labels and annotations; none where nil.
func metadata(labels, annotations map[string]any) map[string]any {
	fields := map[string]any{}
	if labels != nil {
		fields["labels"] = labels
	}
	if annotations != nil {
		fields["annotations"] = annotations
	}
	return map[string]any{"metadata": fields}
}

func (s *carvedTheft) claimed() []attempt {
	type fields = map[string]any
	const foreign, both, more = "may only update claims with the label", "both together", "how large its volume is"
	label, annotation := fields{api.LabelNode: nil}, fields{selectedNode: nil}
	size := fields{"storage": "2Mi"}
	resized := fields{"status": fields{"allocatedResources": size, "allocatedResourceStatuses": fields{"storage": "NodeResizePending"},
		"conditions": []fields{{"type": "FileSystemResizePending", "status": "True", "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}}}}
	return []attempt{
		{"give the own claim back", s.write(s.own, metadata(label, annotation)), ""},
		{"take off the label alone", s.write(s.own, metadata(label, nil)), both},
		{"take off the choice alone", s.write(s.own, metadata(nil, annotation)), both},
		{"choose another node", s.write(s.own, metadata(fields{api.LabelNode: s.other}, fields{selectedNode: s.other})), both},
		{"give back and label", s.write(s.own, metadata(fields{api.LabelNode: nil, "app": "b"}, annotation)), both},
		{"give back and annotate", s.write(s.own, metadata(label, fields{selectedNode: nil, "new": "b"})), both},
		{"give back and take a note", s.write(s.own, metadata(label, fields{selectedNode: nil, "note": nil})), both},
		{"bind the own claim", s.write(s.own, fields{"spec": fields{"volumeName": s.pvs[s.own].Name}}), "what a claim asks for"},
		{"keep the own claim", s.write(s.own, fields{"metadata": fields{"finalizers": []string{"example.com/a"}}}), "what a claim asks for"},
		{"say that it grows", s.write(s.own, resized, "status"), ""},
		{"say that it is lost", s.write(s.own, fields{"status": fields{"phase": "Lost"}}, "status"), more},
		{"label it by its status", s.write(s.own, metadata(fields{"app": "b"}, nil), "status"), "each by itself"},
		{"give another's claim back", s.write(s.other, metadata(label, annotation)), foreign},
		{"say that another's grows", s.write(s.other, resized, "status"), foreign},
	}
}

func (s *carvedTheft) capacities() []attempt {
	const foreign = "may only say how much room that node has"
	create := func(namespace string, change func(*storagev1.CSIStorageCapacity)) func() error {
		return func() error {
			c := s.capacity(s.own)
			c.Name += "-new"
			change(c)
			_, err := s.client.StorageV1().CSIStorageCapacities(namespace).Create(s.Ctx, c, metav1.CreateOptions{DryRun: dryRun})
			return err
		}
	}
	update := func(node string) func() error {
		return func() error {
			_, err := s.client.StorageV1().CSIStorageCapacities(cluster.BerthNamespace).Patch(s.Ctx, s.capacityPrefix+node, types.MergePatchType, []byte(`{"capacity":"2Gi"}`), metav1.PatchOptions{DryRun: dryRun})
			return err
		}
	}
	return []attempt{
		{"tell the own room", create(cluster.BerthNamespace, func(*storagev1.CSIStorageCapacity) {}), ""},
		{"tell the own room anew", update(s.own), ""},
		{"tell it elsewhere", create(s.Space.Name, func(*storagev1.CSIStorageCapacity) {}), "in the namespace " + cluster.BerthNamespace},
		{"tell another's room", create(cluster.BerthNamespace, func(c *storagev1.CSIStorageCapacity) { c.NodeTopology = s.capacity(s.other).NodeTopology }), foreign},
		{"tell of all nodes", create(cluster.BerthNamespace, func(c *storagev1.CSIStorageCapacity) { c.NodeTopology = nil }), foreign},
		{"tell of nodes by an expression", create(cluster.BerthNamespace, func(c *storagev1.CSIStorageCapacity) {
			c.NodeTopology = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: api.LabelNode, Operator: metav1.LabelSelectorOpExists}}}
		}), foreign},
		{"tell another's room anew", update(s.other), foreign},
		{"delete another's", func() error {
			return s.client.StorageV1().CSIStorageCapacities(cluster.BerthNamespace).Delete(s.Ctx, s.capacityPrefix+s.other, metav1.DeleteOptions{DryRun: dryRun})
		}, foreign},
	}
}

// placing are attempts of the controller's.
func (s *carvedTheft) placing() []attempt {
	type fields = map[string]any
	const no, only = "the controller may", "of a claim the label"
	others := workload.Claim{Name: "others", Class: noClass}.Object()
	others.Annotations = map[string]string{provisionerOf: "example.com"}
	others, err := s.C.Client().CoreV1().PersistentVolumeClaims(s.Space.Name).Create(s.Ctx, others, metav1.CreateOptions{})
	s.Must(err)
	s.claims["others"] = others
	claims := s.client.CoreV1().PersistentVolumeClaims(s.Space.Name)
	return []attempt{
		{"place a claim", s.write("node-1", metadata(fields{api.LabelNode: "node-2"}, fields{selectedNode: "node-2"})), ""},
		{"place another provisioner's", s.write("others", metadata(fields{api.LabelNode: "node-2"}, nil)), "another provisioner's"},
		{"place and label", s.write("node-1", metadata(fields{api.LabelNode: "node-2", "app": "b"}, nil)), only},
		{"annotate", s.write("node-1", metadata(nil, fields{"note": "b"})), only},
		{"bind", s.write("node-1", fields{"spec": fields{"volumeName": "a"}}), only},
		{"write a status", s.write("node-1", fields{"status": fields{"phase": "Lost"}}, "status"), no},
		{"make a claim", func() error {
			_, err := claims.Create(s.Ctx, workload.Claim{Name: "new", Class: noClass}.Object(), metav1.CreateOptions{DryRun: dryRun})
			return err
		}, no},
		{"delete a claim", func() error {
			return claims.Delete(s.Ctx, s.claims["node-1"].Name, metav1.DeleteOptions{DryRun: dryRun})
		}, no},
		{"delete a carved volume", func() error {
			return s.client.CoreV1().PersistentVolumes().Delete(s.Ctx, s.pvs["node-1"].Name, metav1.DeleteOptions{DryRun: dryRun})
		}, "the controller"},
	}
}
