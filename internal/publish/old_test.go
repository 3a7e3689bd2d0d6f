package publish

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/volume"
)

// oldPV is a PV as the established provisioner makes it.
func oldPV(name, uid, version string, edit ...func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	pv := pvOf(name, "", uid, version)
	delete(pv.Labels, api.LabelNode)
	delete(pv.Annotations, api.AnnIdentity)
	pv.Finalizers = nil
	for _, e := range edit {
		e(pv)
	}
	return pv
}

func ofNode2(pv *corev1.PersistentVolume) {
	pv.Annotations[api.AnnProvisionedBy] = "local-volume-provisioner-node-2-" + anUID
}

func TestUnlabelledReadsPages(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	c, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		mu.Lock()
		asked = append(asked, q.Get("labelSelector")+" "+q.Get("limit")+" "+q.Get("continue"))
		mu.Unlock()
		list := corev1.PersistentVolumeList{Items: []corev1.PersistentVolume{*oldPV("pv1", "u1", "1"), *oldPV("pv2", "u2", "1", ofNode2)}}
		if list.Continue = "more"; q.Get("continue") == "more" {
			list = corev1.PersistentVolumeList{Items: []corev1.PersistentVolume{*oldPV("pv3", "u3", "1")}}
		}
		answer(w, 200, "PersistentVolumeList", list)
	})
	var names []string
	if err := c.Unlabelled(t.Context(), func(pv *corev1.PersistentVolume) { names = append(names, pv.Name) }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(names, []string{"pv1", "pv2", "pv3"}) {
		t.Errorf("got %q", names)
	}
	if want := []string{"!berth.storage/node 250 ", "!berth.storage/node 250 more"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

func TestLabel(t *testing.T) {
	c, requests := served(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, "PersistentVolume", pvOf("pv1", "", "u1", "2"))
	})
	got, err := c.Label(t.Context(), volume.PV{Name: "pv1", UID: "u1"})
	if err != nil || got.ResourceVersion != "2" {
		t.Fatalf("%v, %v", got, err)
	}
	r := requests()[0]
	if want := `{"metadata":{"labels":{"berth.storage/node":"node-1"},"uid":"u1"}}`; string(r.body) != want || r.method != http.MethodPatch {
		t.Errorf("%s %s %s, want %s", r.method, r.path, r.body, want)
	}
}

// Under the old role PVs without a label are followed until none is left, in
// pages, and those of other nodes are not kept.
func TestWatchOld(t *testing.T) {
	events := make(chan map[string]any)
	var mu sync.Mutex
	var asked []string
	c, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		mu.Lock()
		asked = append(asked, q.Get("watch")+" "+q.Get("limit")+" "+q.Get("resourceVersion")+" "+q.Get("sendInitialEvents"))
		mu.Unlock()
		if q.Get("watch") == "" {
			list := corev1.PersistentVolumeList{ListMeta: metav1.ListMeta{ResourceVersion: "10", Continue: "more"},
				Items: []corev1.PersistentVolume{*oldPV("pv1", "u1", "5"), *oldPV("other", "u9", "1", ofNode2), *pvOf("new", id2, "u8", "1")}}
			if q.Get("continue") != "" {
				list.Items, list.Continue = []corev1.PersistentVolume{*oldPV("pv2", "u2", "5")}, ""
			}
			answer(w, 200, "PersistentVolumeList", list)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		for {
			select {
			case e := <-events:
				_ = json.NewEncoder(w).Encode(e) // the client may be gone
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	seen := make(chan string, 10)
	store := NewStore(Handlers{Unidentified: func(name string) { seen <- name }, Changed: func(volume.ID) { seen <- "volume" }, Foreign: nobody, Listed: func() {}})
	ended := make(chan struct{})
	running(t, func(ctx context.Context) { c.WatchOld(ctx, testNode(), store); close(ended) })
	listed := []string{within(t, 10*time.Second, seen, "a listed PV"), within(t, 10*time.Second, seen, "a listed PV")}
	if slices.Sort(listed); !slices.Equal(listed, []string{"pv1", "pv2"}) {
		t.Fatalf("listed %q", listed)
	}
	send := func(what string, pv *corev1.PersistentVolume) {
		pv.Kind, pv.APIVersion = "PersistentVolume", "v1"
		events <- map[string]any{"type": what, "object": pv}
	}
	store.Identify(volume.PV{Name: "pv1", UID: "u1"}, id1)
	send("MODIFIED", oldPV("other", "u9", "11", ofNode2))
	send("MODIFIED", oldPV("pv1", "u1", "12", func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef = &corev1.ObjectReference{Name: "c"} }))
	if got := within(t, 10*time.Second, seen, "a change"); got != "volume" {
		t.Errorf("%s changed, want the volume of pv1", got)
	}
	if pvs, _, _ := store.Get(volume.IDOf(id1)); len(pvs) != 1 || pvs[0].Claim == nil || pvs[0].Identity != id1 {
		t.Errorf("got %+v", pvs)
	}
	send("DELETED", oldPV("pv1", "u1", "13", func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef = &corev1.ObjectReference{Name: "c"} }))
	within(t, 10*time.Second, seen, "the deletion")
	if pvs, absent, left := store.Get(volume.IDOf(id1)); len(pvs) != 0 || !absent || left != "" {
		t.Errorf("got %+v, absent %v, left unclaimed %q", pvs, absent, left)
	}
	labelled := oldPV("pv2", "u2", "14")
	metav1.SetMetaDataLabel(&labelled.ObjectMeta, api.LabelNode, "node-1")
	send("MODIFIED", labelled)
	within(t, 10*time.Second, ended, "the watch's end, with nothing left to follow")
	mu.Lock()
	defer mu.Unlock()
	if want := []string{" 250  ", " 250  ", "true  10 "}; len(asked) < 3 || !slices.Equal(asked[:3], want) {
		t.Errorf("asked %q", asked)
	}
}

// The end of a PV that nobody holds is told apart by whether a claim had it.
func TestLeftUnclaimed(t *testing.T) {
	s := newStore(t)
	end := func(identity disk.ID, claimed bool) string {
		pv := pvOf("pv", identity, "u1", "1")
		s.do(s.Add(pv))
		if claimed {
			pv.Spec.ClaimRef = &corev1.ObjectReference{Name: "c"}
		}
		s.do(s.Delete(deleted(pv)))
		_, _, left := s.Get(volume.IDOf(identity))
		return left
	}
	if got := end(id1, false); got != "u1" {
		t.Errorf("one that no claim had left as %q", got)
	}
	if got := end(id2, true); got != "" {
		t.Errorf("one that a claim had left as %q", got)
	}
	s.PutAbsent(volume.IDOf(id1))
	if _, absent, left := s.Get(volume.IDOf(id1)); !absent || left != "" {
		t.Errorf("absent %v, left %q after the server's word alone", absent, left)
	}
}

// Two PVs of one disk: the one that a claim has comes first.
func TestTwoPVsOfOneDisk(t *testing.T) {
	s := newStore(t)
	s.do(s.Add(pvOf("pv1", id1, "u1", "1")))
	claimed := pvOf("pv2", id1, "u2", "2")
	claimed.Spec.ClaimRef = &corev1.ObjectReference{Name: "c"}
	s.do(s.Add(claimed))
	pvs, _, _ := s.Get(volume.IDOf(id1))
	if len(pvs) != 2 || pvs[0].Name != "pv2" || pvs[1].Name != "pv1" {
		t.Fatalf("got %+v", pvs)
	}
	s.do(s.Delete(deleted(claimed)))
	if pvs, absent, _ := s.Get(volume.IDOf(id1)); len(pvs) != 1 || absent && len(pvs) == 0 {
		t.Errorf("got %+v, absent %v", pvs, absent)
	}
}

// An answer that comes after a PV's end does not bring it back, whether or not
// it says which disk it is of.
func TestLateAnswerOfAnUnidentified(t *testing.T) {
	s := newStore(t)
	s.do(s.Add(pvOf("pv1", "", "u1", "1")))
	s.do(s.Delete(deleted(pvOf("pv1", "", "u1", "3"))))
	s.Put(pvOf("pv1", "", "u1", "2"), false)
	if got := s.Unidentified(nil); len(got) != 0 {
		t.Errorf("back: %+v", got)
	}
	s.Put(pvOf("pv1", "", "u2", "4"), false)
	if got := s.Unidentified(nil); len(got) != 1 {
		t.Errorf("another PV of that name is not taken in: %+v", got)
	}
}

// An unidentified PV is no volume's until it is identified; its identity lasts
// over lists and changes, and not over another PV of its name.
func TestIdentify(t *testing.T) {
	s := newStore(t)
	s.do(s.Add(pvOf("pv1", "", "u1", "1")))
	s.announced()
	if !slices.Equal(s.unknown, []string{"pv1"}) || len(s.Unidentified(nil)) != 1 || len(s.IDs()) != 0 {
		t.Fatalf("unidentified %q, %d volumes", s.unknown, len(s.IDs()))
	}
	s.Identify(volume.PV{Name: "pv1", UID: "u0"}, id2) // an earlier PV of that name
	s.is(id2, "", "", false)
	s.Identify(volume.PV{Name: "pv1", UID: "u1"}, id1)
	s.is(id1, "u1", "1", false)
	s.do(s.Update(pvOf("pv1", "", "u1", "2")))
	s.announced(id1)
	s.do(s.Replace([]any{pvOf("pv1", "", "u1", "3")}, "3"))
	s.is(id1, "u1", "3", false)
	s.Put(pvOf("pv1", "", "u1", "4"), false)
	s.is(id1, "u1", "4", false)
	s.do(s.Update(pvOf("pv1", "", "u2", "5")))
	if got := s.Unidentified(nil); len(got) != 1 || got[0].UID != "u2" {
		t.Errorf("unidentified %+v", got)
	}
	s.is(id1, "", "", false)
}
