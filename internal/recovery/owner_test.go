package recovery

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
)

const uid = "5f6e0c9a-1b2c-4d3e-8f90-a1b2c3d4e5f6"

// pinned is a term that pins the hostname to values.
func pinned(values ...string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{
		Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: values}}}
}

func affinity(terms ...corev1.NodeSelectorTerm) *corev1.VolumeNodeAffinity {
	return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: terms}}
}

func TestOwner(t *testing.T) {
	in := func(key string, op corev1.NodeSelectorOperator, values ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: op, Values: values}}}
	}
	both := pinned("h1")
	both.MatchExpressions = append(both.MatchExpressions, in("zone", corev1.NodeSelectorOpIn, "a").MatchExpressions...)
	field := corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"n1"}}}}
	for _, c := range []struct {
		name        string
		affinity    *corev1.VolumeNodeAffinity
		label, made string // the label berth.storage/node, the annotation provisioned-by
		ids         string // "" for uncertain
		called      string
	}{
		{"Hostname", affinity(pinned("h1")), "", "", "h1", "h1"},
		{"SeveralHostnames", affinity(pinned("h2", "h1")), "", "", "h1 h2", "h1, h2"},
		{"SeveralTerms", affinity(pinned("h1"), pinned("h2")), "", "", "h1 h2", "h1, h2"},
		{"HostnameAndZone", affinity(both), "", "", "h1", "h1"},
		{"Label", affinity(pinned("h1")), "n1", "", "h1 n1", "n1"},
		{"HashedLabel", affinity(pinned("h1")), "sha256-abc", "", "h1 sha256-abc", "h1"},
		{"Provisioner", affinity(pinned("h1")), "", "local-volume-provisioner-n1-" + uid, "h1 n1 n1-" + uid, "n1"},
		{"ProvisionerNameOnly", affinity(pinned("h1")), "", "local-volume-provisioner-n-1", "h1 n-1", "n-1"},
		{"OtherProvisioner", affinity(pinned("h1")), "", "csi.example.com", "h1", "h1"},
		{"All", affinity(pinned("h1")), "n1", "local-volume-provisioner-n1-" + uid, "h1 n1 n1-" + uid, "n1"},

		{"NoAffinity", nil, "n1", "", "", ""},
		{"NoRequired", &corev1.VolumeNodeAffinity{}, "", "", "", ""},
		{"NoTerms", affinity(), "", "", "", ""},
		{"EmptyTerm", affinity(corev1.NodeSelectorTerm{}), "", "", "", ""},
		{"Zone", affinity(in("zone", corev1.NodeSelectorOpIn, "a")), "", "", "", ""},
		{"ZoneBeside", affinity(pinned("h1"), in("zone", corev1.NodeSelectorOpIn, "a")), "", "", "", ""},
		{"Field", affinity(field), "", "", "", ""},
		{"NotIn", affinity(in(corev1.LabelHostname, corev1.NodeSelectorOpNotIn, "h1")), "", "", "", ""},
		{"Exists", affinity(in(corev1.LabelHostname, corev1.NodeSelectorOpExists)), "", "", "", ""},
		{"NoValue", affinity(pinned()), "", "", "", ""},
		{"EmptyValue", affinity(pinned("h1", "")), "", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			pv := &corev1.PersistentVolume{}
			pv.Spec.NodeAffinity = c.affinity
			pv.Labels = map[string]string{api.LabelNode: c.label}
			pv.Annotations = map[string]string{api.AnnProvisionedBy: c.made}
			o := OwnerOf(pv)
			if (o.Uncertain == "") != (c.ids != "") {
				t.Fatalf("uncertain: %q", o.Uncertain)
			}
			if c.ids == "" {
				return
			}
			if got := strings.Join(o.IDs(), " "); got != c.ids {
				t.Errorf("IDs %q, want %q", got, c.ids)
			}
			if o.String() != c.called {
				t.Errorf("called %q, want %q", o, c.called)
			}
			for _, h := range o.Hostnames {
				if !slices.Contains(o.Nodes(), h) {
					t.Errorf("hostname %s is not looked up as a node", h)
				}
			}
		})
	}
}

// TestOwnerOfCarved: a carved volume's affinity names the node by Berth's label.
func TestOwnerOfCarved(t *testing.T) {
	long := strings.Repeat("n", 70)
	by := func(values ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: api.LabelNode, Operator: corev1.NodeSelectorOpIn, Values: values}}}
	}
	for name, c := range map[string]struct {
		affinity      *corev1.VolumeNodeAffinity
		beside, label string
		ids           string // "" for uncertain
	}{
		"Name":          {affinity(by("n1")), "", "n1", "n1"},
		"NameNoLabel":   {affinity(by("n1")), "", "", "n1"},
		"AnotherLabel":  {affinity(by("n1")), "", "n2", "n1 n2"},
		"NameBeside":    {affinity(by("n1")), "n3", "n1", "n1"},
		"Several":       {affinity(by("n1", "n2")), "", "", "n1 n2"},
		"Hash":          {affinity(by(publish.NodeLabelValue(long))), long, "", long},
		"HashAlone":     {affinity(by(publish.NodeLabelValue(long))), "", "", ""},
		"HashOfAnother": {affinity(by(publish.NodeLabelValue(long))), "n1", "", ""},
		"OneHashAlone":  {affinity(by("n1", publish.NodeLabelValue(long))), "", "", ""},
		"Hostname":      {affinity(pinned("h1")), "", "n1", ""},
		"Nothing":       {nil, "", "n1", ""},
	} {
		pv := &corev1.PersistentVolume{}
		pv.Spec.CSI = &corev1.CSIPersistentVolumeSource{VolumeAttributes: map[string]string{api.LabelNode: c.beside}}
		pv.Spec.NodeAffinity, pv.Labels = c.affinity, map[string]string{api.LabelNode: c.label}
		o := OwnerOf(pv)
		if ids := strings.Join(o.IDs(), " "); (o.Uncertain == "") != (c.ids != "") || c.ids != "" && ids != c.ids || o.Hostnames != nil {
			t.Errorf("%s: %q, hostnames %q, uncertain %q; want %q", name, ids, o.Hostnames, o.Uncertain, c.ids)
		}
	}
}

func TestView(t *testing.T) {
	pv := &corev1.PersistentVolume{}
	pv.Name, pv.UID, pv.ResourceVersion = "pv1", "u1", "7"
	pv.Finalizers = []string{"kubernetes.io/pv-protection", api.Finalizer}
	pv.Spec.StorageClassName, pv.Spec.NodeAffinity = "fast", affinity(pinned("h1"))
	pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
	if _, ok := View(pv, []string{"fast"}); ok {
		t.Error("took a volume that is not local")
	}
	pv.Spec.Local = &corev1.LocalVolumeSource{Path: "/mnt/a"}
	if _, ok := View(pv, []string{"slow"}); ok {
		t.Error("took a volume of a class that is not listed")
	}
	for _, c := range []struct {
		phase          corev1.PersistentVolumePhase
		keep, claim    bool
		stale, claimed bool
	}{
		{phase: corev1.VolumeAvailable, stale: true},
		{phase: corev1.VolumeAvailable, keep: true, stale: true},
		{phase: corev1.VolumeAvailable, claim: true, stale: true},
		{phase: corev1.VolumeBound, claim: true, claimed: true},
		{phase: corev1.VolumeBound},
		{phase: corev1.VolumePending, claim: true, claimed: true},
		{phase: corev1.VolumeFailed, claim: true, claimed: true},
		{phase: corev1.VolumeReleased, claim: true, stale: true},
		{phase: corev1.VolumeReleased, claim: true, keep: true},
	} {
		pv := pv.DeepCopy()
		pv.Status.Phase = c.phase
		if c.keep {
			pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
		}
		if c.claim {
			pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: "c", UID: "cu"}
		}
		v, ok := View(pv, []string{"slow", "fast"})
		if !ok || !v.Held || v.Deleting || v.stale() != c.stale || v.claimed() != c.claimed {
			t.Errorf("%+v: got %+v (%v), stale %v, claimed %v", c, v, ok, v.stale(), v.claimed())
		}
	}
}
