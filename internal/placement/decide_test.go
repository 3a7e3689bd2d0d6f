package placement

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

func TestDecide(t *testing.T) {
	long := strings.Repeat("n", 70)
	later, now := &class{}, &class{immediate: true}
	for _, c := range []struct {
		name        string
		node, label string
		of          *class
		gone        bool
		want        verb
	}{
		{"of another's class", "n1", "", nil, false, nothing},
		{"of another's class, with our label", "", "n1", nil, false, nothing},
		{"of another's class, of a node that is gone", "n1", "n1", nil, true, nothing},
		{"no pod wants it yet", "", "", later, false, nothing},
		{"the scheduler has chosen", "n1", "", later, false, place},
		{"placed", "n1", "n1", later, false, nothing},
		{"placed on a node with a long name", long, publish.NodeLabelValue(long), later, false, nothing},
		{"chosen anew", "n2", "n1", later, false, place},
		{"the choice was taken back", "", "n1", later, false, forget},
		{"on a node that is gone", "n1", "n1", later, true, takeBack},
		{"chosen, on a node that is gone", "n1", "", later, true, takeBack},
		{"that does not wait", "", "", now, false, choose},
		{"that does not wait, placed", "n1", "n1", now, false, nothing},
		{"that does not wait, half placed", "n1", "", now, false, place},
		{"that does not wait, whose choice was taken back", "", "n1", now, false, choose},
		{"that does not wait, on a node that is gone", "n1", "n1", now, true, takeBack},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := decide(claim{node: c.node, label: c.label, announced: true}, c.of, c.gone); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			// Only what is put on a claim can come too early.
			want := map[verb]verb{place: nothing, choose: nothing}[c.want]
			if want == "" {
				want = c.want
			}
			if got := decide(claim{node: c.node, label: c.label}, c.of, c.gone); got != want {
				t.Errorf("before Kubernetes has said who makes its volume: %s, want %s", got, want)
			}
		})
	}
}

// TestSteps: each verb makes of each form of a claim what it stands for, and
// leaves one alone that has become another form meanwhile.
func TestSteps(t *testing.T) {
	with := func(c *corev1.PersistentVolumeClaim) {
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, "mine", "a")
		metav1.SetMetaDataLabel(&c.ObjectMeta, "mine", "l")
	}
	bound := func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "pv1" }
	forms := map[string]*corev1.PersistentVolumeClaim{
		"new": claimObject("c"), "new+": claimObject("c", with), "bound": claimObject("c", bound, labelled("n1"), chosen("n1")),
		"chosen": claimObject("c", chosen("n1")), "chosen+": claimObject("c", chosen("n1"), with), "elsewhere": claimObject("c", chosen("n2")),
		"placed": claimObject("c", chosen("n1"), labelled("n1")), "placed+": claimObject("c", chosen("n1"), labelled("n1"), with),
		"late": claimObject("c", labelled("n1")), "late+": claimObject("c", labelled("n1"), with), "later": claimObject("c", labelled("n2")),
		"moved": claimObject("c", chosen("n1"), labelled("n2")), "bound new": claimObject("c", bound), "bound late": claimObject("c", bound, labelled("n1")),
	}
	for _, c := range forms { // one that has no annotation is a form, too
		unannounced(c)
	}
	told := func(c *corev1.PersistentVolumeClaim) string {
		return fmt.Sprintf("%s/%s", c.Annotations[publish.AnnSelectedNode], c.Labels[api.LabelNode])
	}
	for _, c := range []struct {
		do   verb
		seen string // the form that was judged
		is   string // the form that there is
		want string // the choice and label then; "" where it is to be let be
	}{
		{place, "chosen", "chosen", "n1/n1"},
		{place, "chosen+", "chosen+", "n1/n1"},
		{place, "moved", "moved", "n1/n1"},
		{place, "chosen", "new", ""},
		{place, "chosen", "elsewhere", ""},
		{place, "chosen", "chosen+", ""}, // its labels would be lost
		{choose, "new", "new", "n9/n9"},
		{choose, "new+", "new+", "n9/n9"},
		{choose, "late", "late", "n9/n9"},
		{choose, "late+", "late+", "n9/n9"},
		{choose, "new", "chosen", ""},
		{choose, "new+", "chosen+", ""},
		{choose, "new", "new+", ""}, // its annotations would be lost
		{choose, "new", "bound new", ""},
		{forget, "late", "late", "/"},
		{forget, "late+", "late+", "/"},
		{forget, "late", "placed", ""},
		{forget, "late+", "placed+", ""},
		{forget, "late", "later", ""},
		{forget, "late", "bound late", ""},
		{takeBack, "placed", "placed", "/"},
		{takeBack, "placed+", "placed+", "/"},
		{takeBack, "chosen", "chosen", "/"},
		{takeBack, "placed", "elsewhere", ""},
		{takeBack, "placed", "moved", ""},
		{takeBack, "placed", "bound", ""},
	} {
		t.Run(fmt.Sprintf("%s %s that is %s", c.do, c.seen, c.is), func(t *testing.T) {
			_, seen, _, err := viewClaim(forms[c.seen])
			if err != nil {
				t.Fatal(err)
			}
			doc, done := patched(forms[c.is], steps(c.do, seen, "n9"))
			if !done {
				if c.want != "" {
					t.Errorf("could not be done, want %s", c.want)
				}
				return
			}
			got := &corev1.PersistentVolumeClaim{}
			again(doc, got)
			if told(got) != c.want {
				t.Errorf("made %s of %s, want %q", told(got), told(forms[c.is]), c.want)
			}
			if was := forms[c.is]; got.Labels["mine"] != was.Labels["mine"] || got.Annotations["mine"] != was.Annotations["mine"] || got.UID != was.UID {
				t.Errorf("changed more: %+v", got.ObjectMeta)
			}
		})
	}
}

func TestBestNode(t *testing.T) {
	nodes := map[string]node{"n1": {name: "n1", usable: true, labels: map[string]string{"zone": "a"}}, "n2": {name: "n2", usable: true, labels: map[string]string{"zone": "b"}},
		"n3": {name: "n3", usable: true}, "down": {name: "down"}}
	zone := []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: "zone", Values: []string{"b", "c"}}}}}
	classes := map[string]class{"now": {immediate: true, pool: "p"}, "same": {pool: "p"}, "any": {}, "other": {pool: "q"}, "zoned": {immediate: true, pool: "p", allowed: zone}}
	for _, c := range []struct {
		name   string
		class  string
		asks   int64
		rooms  []room
		placed map[string][]claim
		beside string
		want   string
		why    string // part of it
	}{
		{name: "one", class: "now", asks: 5, rooms: []room{{"now", "n1", 5, 5}}, want: "n1"},
		{name: "the one with most", class: "now", asks: 1, rooms: []room{{"now", "n1", 5, 5}, {"now", "n2", 9, 9}, {"now", "n3", 7, 7}}, want: "n2"},
		{name: "the largest volume goes first", class: "now", asks: 1, rooms: []room{{"now", "n1", 90, 5}, {"now", "n2", 9, 9}}, want: "n2"},
		{name: "then what is free", class: "now", asks: 1, rooms: []room{{"now", "n1", 8, 5}, {"now", "n2", 9, 5}}, want: "n2"},
		{name: "then the name", class: "now", asks: 1, rooms: []room{{"now", "n3", 5, 5}, {"now", "n2", 5, 5}, {"now", "n1", 5, 5}}, want: "n1"},
		{name: "beside another", class: "now", asks: 1, rooms: []room{{"now", "n1", 16, 16}, {"now", "n2", 14, 14}}, beside: "n2", want: "n2"},
		{name: "beside another, with much less", class: "now", asks: 1, rooms: []room{{"now", "n1", 16, 16}, {"now", "n2", 13, 13}}, beside: "n2", want: "n1"},
		{name: "beside another, with too little", class: "now", asks: 16, rooms: []room{{"now", "n1", 16, 16}, {"now", "n2", 15, 15}}, beside: "n2", want: "n1"},
		{name: "beside another, where no pod can start", class: "now", asks: 1, rooms: []room{{"now", "n1", 5, 5}, {"now", "down", 5, 5}}, beside: "down", want: "n1"},
		{name: "beside another that has most", class: "now", asks: 1, rooms: []room{{"now", "n1", 5, 5}, {"now", "n2", 9, 9}}, beside: "n2", want: "n2"},
		{name: "another class's room", class: "now", asks: 1, rooms: []room{{"same", "n1", 5, 5}}, why: "no node that pods can start on has a pool for class now"},
		{name: "nodes that are down or gone", class: "now", asks: 1, rooms: []room{{"now", "down", 5, 5}, {"now", "gone", 5, 5}}, why: "no node that pods"},
		{name: "a zone", class: "zoned", asks: 1, rooms: []room{{"zoned", "n1", 9, 9}, {"zoned", "n2", 5, 5}, {"zoned", "n3", 9, 9}}, want: "n2"},
		{name: "too large", class: "now", asks: 6 * gi, rooms: []room{{"now", "n1", 9 * gi, 5 * gi}}, why: "no node has room for 6Gi in class now; at most 5Gi"},
		{name: "promised already", class: "now", asks: 5, rooms: []room{{"now", "n1", 9, 9}},
			placed: map[string][]claim{"n1": {{class: "now", bytes: 5}}}, why: "at most 4 "},
		{name: "promised to all classes of the pool", class: "now", asks: 5, rooms: []room{{"now", "n1", 9, 9}, {"now", "n2", 6, 6}},
			placed: map[string][]claim{"n1": {{class: "same", bytes: 3}, {class: "any", bytes: 3}}}, want: "n2"},
		{name: "promised to itself", class: "now", asks: 5, rooms: []room{{"now", "n1", 9, 9}},
			placed: map[string][]claim{"n1": {{Claim: volume.Claim{UID: "me"}, class: "now", bytes: 5}}}, want: "n1"},
		{name: "promised of another pool", class: "now", asks: 5, rooms: []room{{"now", "n1", 9, 9}, {"now", "n2", 6, 6}},
			placed: map[string][]claim{"n1": {{class: "other", bytes: 5}}}, want: "n1"},
		{name: "overpromised", class: "now", asks: 1, rooms: []room{{"now", "n1", 9, 9}},
			placed: map[string][]claim{"n1": {{class: "now", bytes: 50}}}, why: "at most 0 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := world{nodes: nodes, classes: classes, rooms: map[string]room{}, placed: c.placed, beside: c.beside}
			for i, r := range c.rooms {
				w.rooms[fmt.Sprint(i)] = r
			}
			me := claim{class: c.class, bytes: c.asks}
			me.UID = "me"
			got, why, _ := w.bestNode(me)
			if got != c.want || (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
				t.Errorf("%q, %q; want %q, %q", got, why, c.want, c.why)
			}
		})
	}
}

func TestViews(t *testing.T) {
	now := metav1.Now()
	for name, c := range map[string]struct {
		edit func(*corev1.PersistentVolumeClaim)
		keep bool
	}{
		"new":           {func(*corev1.PersistentVolumeClaim) {}, true},
		"bound":         {func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "pv1" }, false},
		"deleted":       {func(c *corev1.PersistentVolumeClaim) { c.DeletionTimestamp = &now }, false},
		"without class": {func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = nil }, false},
	} {
		key, got, keep, err := viewClaim(claimObject("c", c.edit, asking(3), chosen("n1"), labelled("n2")))
		if err != nil || keep != c.keep || key != "ns/c" || got.UID != "c-uid" || got.bytes != 3 || got.node != "n1" || got.label != "n2" || !got.labels || !got.annotations {
			t.Errorf("%s: %s %+v, kept %v, %v", name, key, got, keep, err)
		}
	}
	other := classObject("c", false, "")
	other.Provisioner = "other.example.com"
	if _, _, keep, err := viewClass(other); keep || err != nil {
		t.Errorf("another's class is kept: %v", err)
	}
	unsaid := classObject("c", false, "p")
	unsaid.VolumeBindingMode = nil // Kubernetes' default
	if _, got, keep, err := viewClass(unsaid); !keep || err != nil || !got.immediate || got.pool != "p" {
		t.Errorf("class %+v, kept %v, %v", got, keep, err)
	}
	cordoned := nodeObject("n", true)
	cordoned.Spec.Unschedulable = true
	for n, want := range map[*corev1.Node]bool{nodeObject("n", true): true, nodeObject("n", false): false, cordoned: false, {}: false} {
		if _, got, keep, err := viewNode(n); !keep || err != nil || got.usable != want {
			t.Errorf("node %+v, want usable %v; %v", got, want, err)
		}
	}
	bare := roomObject("fast", "n1", 9, 9)
	bare.MaximumVolumeSize = nil
	for o, want := range map[*storagev1.CSIStorageCapacity]room{roomObject("fast", "n1", 9, 8): {"fast", "n1", 9, 8}, bare: {"fast", "n1", 0, 0}} {
		if key, got, keep, err := viewRoom(o); key != "berth/fast-n1" || got != want || !keep || err != nil {
			t.Errorf("%s %+v, kept %v, %v; want %+v", key, got, keep, err, want)
		}
	}
	for name, err := range map[string]error{"claims": second(viewClaim("x")), "classes": second(viewClass("x")), "nodes": second(viewNode("x")), "rooms": second(viewRoom("x"))} {
		if err == nil {
			t.Errorf("%s: took in what is none", name)
		}
	}
}

func second[T any](_ string, _ T, _ bool, err error) error { return err }
