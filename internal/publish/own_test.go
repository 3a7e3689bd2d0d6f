package publish

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/api"
)

const anUID = "7d9a1c53-0b6e-4f0a-9d5e-0a1b2c3d4e5f"

// foreignTo is what a PV is to the node: adoptable, somebody else's on its
// paths, or with a label and a reason why it does not fit.
func TestWhoseAPVIs(t *testing.T) {
	by := func(provisioner string) func(*corev1.PersistentVolume) {
		return func(pv *corev1.PersistentVolume) { pv.Annotations[api.AnnProvisionedBy] = provisioner }
	}
	host := func(terms ...corev1.NodeSelectorTerm) func(*corev1.PersistentVolume) {
		return func(pv *corev1.PersistentVolume) { pv.Spec.NodeAffinity.Required.NodeSelectorTerms = terms }
	}
	term := func(key, operator string, values ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOperator(operator), Values: values}}}
	}
	both := term(corev1.LabelHostname, "In", "host-1")
	both.MatchExpressions = append(both.MatchExpressions, corev1.NodeSelectorRequirement{Key: "x", Operator: "Exists"})
	const label = corev1.LabelHostname
	for _, c := range []struct {
		name      string
		edit      func(*corev1.PersistentVolume)
		misfit    string // part of it
		adoptable bool   // once the label is off
		elsewhere bool   // once the label is off
	}{
		{"of this node", by("local-volume-provisioner-node-1-n-uid"), "", true, false},
		{"of an earlier node of this name", by("local-volume-provisioner-node-1-" + anUID), "", true, false},
		{"without a UID", by("local-volume-provisioner-node-1"), "", true, false},
		{"with another term", host(term("rack", "In", "r1"), term(label, "In", "host-1")), "", true, false},
		{"of another node", by("local-volume-provisioner-node-2-" + anUID), "not this node's", false, true},
		{"of a node whose name begins like this one's", by("local-volume-provisioner-node-11"), "not this node's", false, true},
		{"of a node whose name goes on with what is no UID", by("local-volume-provisioner-node-1-b"), "not this node's", false, true},
		{"in upper case", by("local-volume-provisioner-node-1-" + strings.ToUpper(anUID)), "not this node's", false, true},
		{"of another provisioner", by("example.com/other-node-1"), "not this node's", false, true},
		{"by hand", func(pv *corev1.PersistentVolume) { pv.Annotations = nil }, "no annotation", false, true},
		{"for another host", host(term(label, "In", "host-2")), "does not name this node", true, false},
		{"for two hosts", host(term(label, "In", "host-1", "host-2")), "does not name this node", true, false},
		{"for all hosts but one", host(term(label, "NotIn", "host-1")), "does not name this node", true, false},
		{"for the node's name, which is not its hostname", host(term(label, "In", "node-1")), "does not name this node", true, false},
		{"for less than the host", host(both), "does not name this node", true, false},
		{"without affinity", func(pv *corev1.PersistentVolume) { pv.Spec.NodeAffinity = nil }, "does not name this node", true, false},
		{"not local", func(pv *corev1.PersistentVolume) { pv.Spec.Local = nil }, "not a local volume", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := testNode()
			pv := PersistentVolume(testSpec(), n)
			c.edit(pv)
			if got := n.Misfit(pv); (got == "") != (c.misfit == "") || !strings.Contains(got, c.misfit) {
				t.Errorf("misfit %q, want %q", got, c.misfit)
			}
			if n.Adoptable(pv) || n.Elsewhere(pv) || !n.Labelled(pv) {
				t.Error("one with a label is not from before Berth")
			}
			delete(pv.Labels, api.LabelNode)
			if n.Adoptable(pv) != c.adoptable || n.Elsewhere(pv) != c.elsewhere || n.Labelled(pv) {
				t.Errorf("adoptable %v, elsewhere %v; want %v, %v", n.Adoptable(pv), n.Elsewhere(pv), c.adoptable, c.elsewhere)
			}
		})
	}
}

// What a node publishes fits it, with every way to write the provisioner's name.
func TestOwnPVsFit(t *testing.T) {
	n := testNode()
	n.UID = anUID
	for _, nameOnly := range []bool{false, true} {
		pv := PersistentVolume(testSpec(func(s *Spec) { s.NodeNameOnly = nameOnly }), n)
		if why := n.Misfit(pv); why != "" {
			t.Errorf("%s: %s", pv.Annotations[api.AnnProvisionedBy], why)
		}
	}
}
