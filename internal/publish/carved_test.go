package publish

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

const carvedID = "pvc-11111111-2222-3333-4444-555555555555"

func carvedSpec(edit ...func(*CarvedSpec)) CarvedSpec {
	s := CarvedSpec{Name: carvedID, Class: "fast", Handle: "0123456789ab/nvme/" + carvedID, Identity: volume.CarvedIdentity(carvedID),
		CapacityBytes: 10 << 30, AccessModes: []string{"ReadWriteOnce"}, Reclaim: corev1.PersistentVolumeReclaimDelete,
		Claim: volume.Claim{Namespace: "ns", Name: "data", UID: "c-uid"}}
	for _, e := range edit {
		e(&s)
	}
	return s
}

func TestCarvedVolume(t *testing.T) {
	for name, s := range map[string]CarvedSpec{
		"carved": carvedSpec(),
		"carved-full": carvedSpec(func(s *CarvedSpec) {
			s.AccessModes, s.FSType, s.Reclaim = []string{"ReadWriteOnce", "ReadWriteOncePod"}, "xfs", corev1.PersistentVolumeReclaimRetain
			s.MountOptions, s.Attributes = []string{"noatime"}, map[string]string{"pool": "nvme"}
			s.NodeLabels, s.Labels, s.Owned = []string{"zone", "not-there"}, map[string]string{"team": "db", api.LabelNode: "not this one"}, true
		}),
		"carved-returned": carvedSpec(func(s *CarvedSpec) { s.Claim.UID, s.Block = "", true }),
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, CarvedVolume(s, testNode())) })
	}
}

// Which PVs of Berth's driver are carved volumes of Berth's own, and of this
// node; the label is not what decides.
func TestWhoseACarvedPVIs(t *testing.T) {
	own := volume.PV{Name: carvedID, UID: "u1", ResourceVersion: "7", Identity: volume.CarvedIdentity(carvedID), Class: "fast", CapacityBytes: 10 << 30,
		Claim: &volume.Claim{Namespace: "ns", Name: "data", UID: "c-uid"}, Delete: true, Held: true, Handle: "0123456789ab/nvme/" + carvedID}
	for _, c := range []struct {
		name   string
		edit   func(*corev1.PersistentVolume)
		seen   bool
		misfit string // part of it
	}{
		{"as carved", func(*corev1.PersistentVolume) {}, true, ""},
		{"whose annotation somebody took off", func(p *corev1.PersistentVolume) { delete(p.Annotations, api.AnnIdentity) }, true, ""},
		{"that was let go", func(p *corev1.PersistentVolume) { p.Finalizers = nil }, true, ""},
		{"of the stock provisioner", func(p *corev1.PersistentVolume) { delete(p.Annotations, api.AnnIdentity); p.Finalizers = nil }, false, "not a local volume"},
		{"of another driver", func(p *corev1.PersistentVolume) { p.Spec.CSI.Driver = "other.example.com" }, false, "not a local volume"},
		{"of another provisioner", func(p *corev1.PersistentVolume) { p.Annotations[api.AnnProvisionedBy] = "other.example.com" }, true, "other.example.com"},
		{"that tells another volume", func(p *corev1.PersistentVolume) { p.Annotations[api.AnnIdentity] = "carved:pvc-2" }, true, "pvc-2"},
		{"that tells a found volume", func(p *corev1.PersistentVolume) { p.Annotations[api.AnnIdentity] = string(id1) }, true, string(id1)},
		{"of another node", func(p *corev1.PersistentVolume) {
			p.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Values[0] = "node-2"
		}, true, "does not name this node"},
		{"of a host", func(p *corev1.PersistentVolume) {
			p.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Key = corev1.LabelHostname
		}, true, "does not name this node"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := testNode()
			pv := CarvedVolume(carvedSpec(), n)
			pv.UID, pv.ResourceVersion = "u1", "7"
			c.edit(pv)
			if v, ok := View(pv); ok != c.seen || ok && (v.Identity != own.Identity || v.Handle != own.Handle || v.Path != own.Handle || *v.Claim != *own.Claim || v.CapacityBytes != own.CapacityBytes) {
				t.Errorf("seen %v as %+v", ok, v)
			}
			if got := n.Misfit(pv); (got == "") != (c.misfit == "") || !strings.Contains(got, c.misfit) {
				t.Errorf("misfit %q, want %q", got, c.misfit)
			}
			if n.Adoptable(pv) {
				t.Error("one with a label is to be labelled")
			}
			delete(pv.Labels, api.LabelNode)
			if n.Adoptable(pv) != (c.seen && c.misfit == "") || n.Elsewhere(pv) {
				t.Errorf("without its label: adoptable %v, a stranger %v", n.Adoptable(pv), n.Elsewhere(pv))
			}
		})
	}
}

// A carved volume is at no path, so it is in no other's way, and is never one
// whose disk has yet to be found out.
func TestCarvedAmongFound(t *testing.T) {
	s := newStore(t)
	pv := CarvedVolume(carvedSpec(), testNode())
	pv.UID, pv.ResourceVersion = "u1", "1"
	s.do(s.Add(pv))
	s.is(volume.CarvedIdentity(carvedID), "u1", "1", false)
	if got := s.Rival(volume.IDOf(id1), ""); got != "" {
		t.Errorf("PV %s is in the way of a disk without a path", got)
	}
	bare := pv.DeepCopy()
	delete(bare.Annotations, api.AnnIdentity)
	bare.ResourceVersion = "2"
	s.do(s.Update(bare))
	s.is(volume.CarvedIdentity(carvedID), "u1", "2", false)
	if got := s.Unidentified(nil); len(got) > 0 {
		t.Errorf("unidentified %+v", got)
	}
	other := bare.DeepCopy()
	other.Finalizers, other.ResourceVersion = nil, "3" // nothing tells that it is Berth's
	s.do(s.Update(other))
	if pvs, absent, _ := s.Get(volume.IDOf(volume.CarvedIdentity(carvedID))); len(pvs) > 0 || absent {
		t.Errorf("still %+v, absent %v", pvs, absent)
	}
	again := pv.DeepCopy()
	again.ResourceVersion, again.UID = "4", types.UID("u1")
	s.do(s.Update(again))
	s.do(s.Delete(deleted(again)))
	if _, absent, left := s.Get(volume.IDOf(volume.CarvedIdentity(carvedID))); !absent || left != "" {
		t.Errorf("after its end: absent %v, left %q", absent, left)
	}
}

// TestCarvedNode: only a PV that Berth carved, that is pinned to one node and that
// the claim has tells where the claim's agent is.
func TestCarvedNode(t *testing.T) {
	want := NodeLabelValue(testNode().Name)
	for name, c := range map[string]struct {
		edit func(*corev1.PersistentVolume)
		want string
	}{
		"carved":            {func(*corev1.PersistentVolume) {}, want},
		"another's driver":  {func(pv *corev1.PersistentVolume) { pv.Spec.CSI.Driver = "another" }, ""},
		"found":             {func(pv *corev1.PersistentVolume) { pv.Spec.CSI, pv.Spec.Local = nil, &corev1.LocalVolumeSource{} }, ""},
		"of no claim":       {func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef = nil }, ""},
		"of another claim":  {func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "d-uid" }, ""},
		"on any node":       {func(pv *corev1.PersistentVolume) { pv.Spec.NodeAffinity = nil }, ""},
		"on several nodes":  {func(pv *corev1.PersistentVolume) { e := expression(pv); e.Values = append(e.Values, "n2") }, ""},
		"by another label":  {func(pv *corev1.PersistentVolume) { expression(pv).Key = corev1.LabelHostname }, ""},
		"on all but a node": {func(pv *corev1.PersistentVolume) { expression(pv).Operator = corev1.NodeSelectorOpNotIn }, ""},
	} {
		pv := CarvedVolume(carvedSpec(), testNode())
		c.edit(pv)
		if got := CarvedNode(pv, "c-uid"); got != c.want {
			t.Errorf("%s: on %q, want %q", name, got, c.want)
		}
	}
}

func expression(pv *corev1.PersistentVolume) *corev1.NodeSelectorRequirement {
	return &pv.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0]
}
