package publish

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestNameIsTheStaticProvisioners(t *testing.T) {
	for _, c := range []struct{ entry, node, class, want string }{
		{"mount1", "test-node", "sc1", "local-pv-aaaafef5"}, // from the provisioner's own test
		{"mount1test-node", "", "sc1", "local-pv-aaaafef5"}, // nothing is between the three
		{"", "", "", "local-pv-811c9dc5"},                   // FNV's offset basis
		{"d68", "node-1", "fast", "local-pv-4a11ed"},        // not padded with zeros
	} {
		if got := Name(c.entry, c.node, c.class); got != c.want {
			t.Errorf("%q %q %q: %s, want %s", c.entry, c.node, c.class, got, c.want)
		}
	}
}

func TestLongName(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range [][3]string{{"d1", "node", "fast"}, {"d1n", "ode", "fast"}, {"d1", "nod", "efast"}, {"D 1/..", strings.Repeat("n", 300), "fast"}} {
		name := LongName(c[0], c[1], c[2])
		if name == Name(c[0], c[1], c[2]) || name != LongName(c[0], c[1], c[2]) || seen[name] {
			t.Errorf("%q: %s is not a name of its own", c, name)
		}
		if bad := validation.IsDNS1123Subdomain(name); len(bad) > 0 {
			t.Errorf("%q: %s: %v", c, name, bad)
		}
		seen[name] = true
	}
}

func TestNodeLabelValue(t *testing.T) {
	long := strings.Repeat("n", 64)
	for node, want := range map[string]string{"node-1": "node-1", long[:63]: long[:63]} {
		if got := NodeLabelValue(node); got != want {
			t.Errorf("%s: %s", node, got)
		}
	}
	got := NodeLabelValue(long)
	if got == long || got == NodeLabelValue(long+"x") || got != NodeLabelValue(long) {
		t.Errorf("%s: %s", long, got)
	}
	if bad := validation.IsValidLabelValue(got); len(bad) > 0 {
		t.Errorf("%s: %v", got, bad)
	}
}

func TestRoundCapacity(t *testing.T) {
	const mib, gib = int64(1) << 20, int64(1) << 30
	for bytes, want := range map[int64]int64{
		0: 0, 1: 1, 10*mib - 1: 10*mib - 1, 10 * mib: 10 * mib, 10*mib + 1: 10 * mib, 11*mib - 1: 10 * mib, 11 * mib: 11 * mib,
		10*gib - 1: 10*gib - mib, 10 * gib: 10 * gib, 10*gib + 1: 10 * gib, 11*gib - 1: 10 * gib, 11 * gib: 11 * gib, 7<<40 + 5*gib + 3: 7<<40 + 5*gib,
	} {
		if got := RoundCapacity(bytes); got != want {
			t.Errorf("%d: %d, want %d", bytes, got, want)
		}
	}
}

func testNode() Node {
	return Node{Name: "node-1", UID: "n-uid", Hostname: "host-1", Labels: map[string]string{"zone": "a", "rack": "r1", "kubernetes.io/hostname": "host-1"}}
}

func testSpec(edit ...func(*Spec)) Spec {
	s := Spec{Name: "local-pv-1", Class: "fast", Path: "/mnt/disks/d1", Identity: "fs:0001:/", CapacityBytes: 10 << 30,
		AccessMode: "ReadWriteOnce", Reclaim: corev1.PersistentVolumeReclaimDelete}
	for _, e := range edit {
		e(&s)
	}
	return s
}

func TestPersistentVolume(t *testing.T) {
	for name, s := range map[string]Spec{
		"filesystem": testSpec(),
		"block":      testSpec(func(s *Spec) { s.Block, s.CapacityBytes = true, 10<<20+512 }),
		"readonly": testSpec(func(s *Spec) {
			s.ReadOnly, s.AccessMode, s.MountOptions, s.Reclaim = true, "ReadOnlyMany", []string{"noatime"}, corev1.PersistentVolumeReclaimRetain
		}),
		"readonly-already": testSpec(func(s *Spec) {
			s.ReadOnly, s.AccessMode, s.MountOptions = true, "ReadOnlyMany", []string{"ro", "noatime"}
		}),
		"shared": testSpec(func(s *Spec) { s.AccessMode, s.Identity = "ReadWriteMany", "weak:nfs4:fast/d1" }),
		"fstype": testSpec(func(s *Spec) { s.FSType = "xfs" }),
		"labels": testSpec(func(s *Spec) {
			s.NodeLabels = []string{"zone", "rack", "not-there"}
			s.Labels = map[string]string{"rack": "ours", "team": "db", api.LabelNode: "not this one"}
		}),
		// As the established provisioner's configuration can have it, on top of
		// useNodeNameOnly, setPVOwnerRef and a selector; without the finalizer.
		"established": testSpec(func(s *Spec) {
			s.Owned, s.NodeNameOnly, s.Unheld = true, true, true
			s.Selector = []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "rack", Operator: "In", Values: []string{"r1", "r2"}}}}}
		}),
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, PersistentVolume(s, testNode())) })
	}
}

// golden compares an object with the file of that name.
func golden(t *testing.T, name string, pv *corev1.PersistentVolume) {
	got, err := yaml.Marshal(pv)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s says\n%s\ngot\n%s", file, want, got)
	}
}

// What is put in is not changed, or shared with the object.
func TestPersistentVolumeLeavesItsInputAlone(t *testing.T) {
	options := append(make([]string, 0, 4), "noatime")
	s := testSpec(func(s *Spec) { s.ReadOnly, s.MountOptions, s.Labels = true, options, map[string]string{"team": "db"} })
	pv := PersistentVolume(s, testNode())
	pv.Spec.MountOptions[0], pv.Labels["team"] = "x", "x"
	if options[0] != "noatime" || options[:2][1] != "" || s.Labels["team"] != "db" || len(s.Labels) != 1 {
		t.Errorf("%q, %v", options[:2], s.Labels)
	}
}

func TestView(t *testing.T) {
	want := volume.PV{Name: "local-pv-1", UID: "u1", ResourceVersion: "7", Identity: "fs:0001:/", Class: "fast", Path: "/mnt/disks/d1", CapacityBytes: 10 << 30, Delete: true, Held: true}
	now := metav1.Now()
	for _, c := range []struct {
		name string
		edit func(*corev1.PersistentVolume)
		want func(*volume.PV) // nil: no local volume
	}{
		{"as published", func(*corev1.PersistentVolume) {}, func(*volume.PV) {}},
		{"bound", func(p *corev1.PersistentVolume) {
			p.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: "a", UID: "ca"}
			p.Status.Phase = corev1.VolumeBound
		}, func(v *volume.PV) { v.Claim = &volume.Claim{Namespace: "ns", Name: "a", UID: "ca"} }},
		{"released", func(p *corev1.PersistentVolume) { p.Status.Phase = corev1.VolumeReleased }, func(v *volume.PV) { v.Released = true }},
		{"failed is not released", func(p *corev1.PersistentVolume) { p.Status.Phase = corev1.VolumeFailed }, func(*volume.PV) {}},
		{"retained", func(p *corev1.PersistentVolume) {
			p.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
		}, func(v *volume.PV) { v.Delete = false }},
		{"being deleted", func(p *corev1.PersistentVolume) { p.DeletionTimestamp = &now }, func(v *volume.PV) { v.Deleting = true }},
		{"let go", func(p *corev1.PersistentVolume) { p.Finalizers = []string{"kubernetes.io/pv-protection"} }, func(v *volume.PV) { v.Held = false }},
		{"without identity", func(p *corev1.PersistentVolume) { delete(p.Annotations, api.AnnIdentity) }, func(v *volume.PV) { v.Identity = "" }},
		{"block", func(p *corev1.PersistentVolume) { block := corev1.PersistentVolumeBlock; p.Spec.VolumeMode = &block }, func(v *volume.PV) { v.Block = true }},
		{"no volume mode is Filesystem", func(p *corev1.PersistentVolume) { p.Spec.VolumeMode = nil }, func(*volume.PV) {}},
		{"not local", func(p *corev1.PersistentVolume) { p.Spec.Local = nil }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			pv := PersistentVolume(testSpec(), testNode())
			pv.UID, pv.ResourceVersion = "u1", "7"
			c.edit(pv)
			got, ok := View(pv)
			if c.want == nil {
				if ok {
					t.Errorf("got %+v, want none", got)
				}
				return
			}
			want := want
			c.want(&want)
			if !ok || !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, ok, want)
			}
		})
	}
}
