package agent

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// names returns the paths that have a PV, with the phase.
func (w *world) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, pv := range w.pvs {
		out = append(out, strings.TrimPrefix(pv.Spec.Local.Path, testClass.HostDir+"/")+" "+string(pv.Status.Phase))
	}
	slices.Sort(out)
	return out
}

func (w *world) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func wantNames(t *testing.T, w *world, want ...string) {
	t.Helper()
	if got := w.names(); !slices.Equal(got, want) {
		t.Errorf("PVs are %q, want %q", got, want)
	}
}

func wantState(t *testing.T, w *world, id volume.ID, want volume.State) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := w.records[id].State; got != want {
		t.Errorf("the volume is %s (%s), want %s", got, w.records[id].Reason, want)
	}
}

func onePV(w *world) *corev1.PersistentVolume {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, pv := range w.pvs {
		return pv.DeepCopy()
	}
	return nil
}

// TestAPIServerAway: with the API server gone for a minute at each point of a
// volume's life, the agent has caught up within 5 seconds of its return.
func TestAPIServerAway(t *testing.T) {
	for i, begin := range phases {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(map[string]*fakeDisk{"dir": {identity: "fs:1:/"}, "dev": {identity: "wwid:2", device: true}})
			w.do(func() { w.down = i == 0 })
			a, stop := w.start(t, 0, false)
			defer stop()
			for _, earlier := range phases[:i] {
				earlier(t, w, a)
				settle()
			}
			w.do(func() { w.down = true })
			begin(t, w, a)
			settle()
			during := w.state()
			w.do(func() { w.down = false })
			time.Sleep(5 * time.Second)
			synctest.Wait()
			soon := w.state()
			settle()
			if end := w.state(); soon != end {
				t.Errorf("phase %d: 5 s after the API server's return:\n%sand later:\n%s", i, soon, end)
			}
			if i == 0 && during == soon {
				t.Error("nothing was caught up: the test does not test")
			}
		})
	}
}

// TestHungDiskIsAlone is guarantee 8 for looking at disks: one that does not
// answer keeps no other from being published, and is published when it does.
func TestHungDiskIsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/", hang: hang}, "b": {identity: "fs:2:/"}, "c": {identity: "fs:3:/"}})
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		wantNames(t, w, "b Available", "c Available")
		if why := a.notReady(); why != "" {
			t.Errorf("one hung disk makes the agent unready: %s", why)
		}
		close(hang)
		settle()
		wantNames(t, w, "a Available", "b Available", "c Available")
	})
}

// TestAnotherDiskAtThePlace is guarantees 1 and 5: another disk under a bound
// volume's name is not handed out as the old one.
func TestAnotherDiskAtThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:old:/"}})
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		old := onePV(w).Name
		w.do(func() { w.disks["a"] = &fakeDisk{identity: "fs:new:/"} })
		a.trigger(false)
		settle()
		if pv := onePV(w); pv == nil || pv.Annotations[api.AnnIdentity] != "fs:new:/" || pv.Name != old {
			t.Errorf("an unclaimed PV was not replaced under the same name: %v", pv)
		}

		w.claimAll(t, "tenant")
		settle()
		w.do(func() { w.disks["a"] = &fakeDisk{identity: "fs:third:/"} })
		a.trigger(false)
		settle()
		wantNames(t, w, "a Bound")
		wantState(t, w, volume.IDOf("fs:new:/"), volume.Used)
		w.releaseAll()
		settle()
		w.do(func() {
			if w.disks["a"].bytes != "" || !slices.Contains(w.events, "PersistentVolume DiskGone") {
				t.Errorf("the other disk was touched, or nothing was reported: %v", w.events)
			}
		})
		wantNames(t, w, "a Released") // not wiped: its disk is not there
	})
}

// TestPVTakenAway is guarantee 3 when PVs are deleted by hand or lost.
func TestPVTakenAway(t *testing.T) {
	for _, test := range []struct {
		name   string
		claim  bool
		away   bool // the agent is not running meanwhile
		take   func(w *world, pv string)
		device bool
		want   volume.State
		pvs    []string
	}{
		{name: "deleted while available", take: deleteByHand, want: volume.Published, pvs: []string{"a Available"}},
		{name: "deleted while available and the agent away", away: true, take: deleteByHand, want: volume.Published, pvs: []string{"a Available"}},
		{name: "forced away while bound", claim: true, take: forceAway, want: volume.Quarantined},
		{name: "forced away while bound and the agent away", claim: true, away: true, take: forceAway, want: volume.Quarantined},
		{name: "forced away while available, device", away: true, device: true, take: forceAway, want: volume.Quarantined},
		{name: "forced away while available, empty directory", away: true, take: forceAway, want: volume.Published, pvs: []string{"a Available"}},
		{name: "used and forced away while the agent was away", away: true, want: volume.Quarantined, take: func(w *world, pv string) {
			w.do(func() { w.disks["a"].bytes = "a tenant's" })
			forceAway(w, pv)
		}},
		{name: "kept after release and deleted by hand", claim: true, want: volume.Quarantined, take: func(w *world, pv string) {
			w.edit(pv, func(pv *corev1.PersistentVolume) {
				pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
				pv.Status.Phase = corev1.VolumeReleased
			})
			deleteByHand(w, pv)
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/", device: test.device}})
			_, stop := w.start(t, 0, false)
			settle()
			if test.claim {
				w.claimAll(t, "tenant")
				settle()
			}
			if test.away {
				stop()
			}
			test.take(w, onePV(w).Name)
			if test.away {
				_, stop = w.start(t, 0, false)
			}
			settle()
			stop()
			t.Log(test.name)
			wantState(t, w, volume.IDOf("fs:1:/"), test.want)
			wantNames(t, w, test.pvs...)
		})
	}
}

func deleteByHand(w *world, name string) {
	w.edit(name, func(pv *corev1.PersistentVolume) {
		now := metav1.Now()
		pv.DeletionTimestamp = &now
	})
}

func forceAway(w *world, name string) {
	w.edit(name, func(pv *corev1.PersistentVolume) {
		now := metav1.Now()
		pv.DeletionTimestamp, pv.Finalizers = &now, nil
	})
}

// TestNameCollision: when another volume has the short name, the longer one is
// used, and stays.
func TestNameCollision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
		taken := publish.PersistentVolume(publish.Spec{Name: publish.Name("a", "node-1", "fast"), Path: "/elsewhere", Identity: "fs:9:/"}, publish.Node{Name: "node-2"})
		w.do(func() { w.store(taken) })
		_, stop := w.start(t, 0, false)
		settle()
		stop()
		w.do(func() {
			if pv := w.pvs[publish.LongName("a", "node-1", "fast")]; pv == nil || pv.Spec.Local.Path != "/mnt/disks/a" {
				t.Errorf("no PV under the long name: %v", slices.Collect(maps.Keys(w.pvs)))
			}
		})
	})
}

// TestReadOnlyClassIsKept: a class with readOnly keeps its data on release.
func TestReadOnlyClassIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
		class := testClass
		class.ReadOnly = true
		_, stop := w.startWith(t, 0, false, class)
		defer stop()
		settle()
		first := onePV(w)
		w.claimAll(t, "reader")
		settle()
		w.do(func() { w.disks["a"].bytes = "the training set" })
		w.releaseAll()
		settle()
		second := onePV(w)
		w.do(func() {
			if w.disks["a"].bytes != "the training set" {
				t.Errorf("the data is %q", w.disks["a"].bytes)
			}
		})
		if second == nil || second.UID == first.UID || second.Spec.ClaimRef != nil {
			t.Errorf("it was not published anew: %v", second)
		}
		if !slices.Contains(second.Spec.MountOptions, "ro") {
			t.Errorf("mount options are %v", second.Spec.MountOptions)
		}
	})
}

// TestWipeNeedsTheServersWord: a wipe does not start from what the cache says
// alone.
func TestWipeNeedsTheServersWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		w.claimAll(t, "tenant")
		settle()
		pv := onePV(w)
		pv.Status.Phase = corev1.VolumeReleased // what an old list says; the server says Bound
		if err := a.store.Update(pv); err != nil {
			t.Fatal(err)
		}
		settle()
		w.do(func() {
			if w.disks["a"].bytes == "" {
				t.Error("a bound volume was wiped")
			}
		})
	})
}

// TestStrayEntryIsReportedOnce: something that is no volume is reported once,
// however often it is seen, and not at all while somebody is about to mount.
func TestStrayEntryIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/", plain: true}, "b": {identity: "fs:2:/", plain: true}})
		a, stop := w.start(t, 0, false)
		defer stop()
		time.Sleep(time.Second)
		synctest.Wait()
		w.do(func() { w.disks["a"].plain = false }) // the mount that follows mkdir
		for range 5 {
			a.trigger(true)
			settle()
		}
		wantNames(t, w, "a Available")
		w.do(func() {
			if !slices.Equal(w.events, []string{"Node EntryRefused"}) {
				t.Errorf("events are %q, want one about b", w.events)
			}
		})
		if why := a.notReady(); why != "" {
			t.Errorf("a stray entry makes the agent unready: %s", why)
		}
	})
}

// TestCopyOfADisk is guarantee 1 for a disk whose identity another has too: the
// copy is reported, and neither handed out nor wiped in the other's stead.
func TestCopyOfADisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		w.claimAll(t, "tenant")
		settle()
		w.do(func() { w.disks["b"] = &fakeDisk{identity: "fs:1:/", bytes: "precious"} })
		a.trigger(false)
		settle()
		wantNames(t, w, "a Bound")
		w.do(func() {
			if !slices.Contains(w.events, "PersistentVolumeClaim IdentityCopied") {
				t.Errorf("the copy is not reported: %q", w.events)
			}
			delete(w.disks, "a")
		})
		a.trigger(false)
		settle()
		w.releaseAll()
		settle()
		wantNames(t, w, "a Released")
		w.do(func() {
			if w.disks["b"].bytes != "precious" {
				t.Error("the copy was wiped")
			}
		})
	})
}
