package agent

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// established puts a PV into the world as the established provisioner makes it.
func (w *world) established(entry string, edit ...func(*corev1.PersistentVolume)) string {
	name := publish.Name(entry, "node-1", "fast")
	pv := publish.PersistentVolume(publish.Spec{Name: name, Class: "fast", Path: "/mnt/disks/" + entry, CapacityBytes: 1 << 30,
		AccessMode: "ReadWriteOnce", Reclaim: corev1.PersistentVolumeReclaimDelete, Unheld: true}, testNode())
	pv.Labels, pv.UID = nil, types.UID("old-"+entry)
	delete(pv.Annotations, api.AnnIdentity)
	pv.Status.Phase = corev1.VolumeAvailable
	for _, e := range edit {
		e(pv)
	}
	w.do(func() { w.store(pv) })
	return pv.Name
}

func boundTo(claim string) func(*corev1.PersistentVolume) {
	return func(pv *corev1.PersistentVolume) {
		pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: claim, UID: "claim"}
		pv.Status.Phase = corev1.VolumeBound
	}
}

func released(pv *corev1.PersistentVolume) {
	boundTo("gone")(pv)
	pv.Status.Phase = corev1.VolumeReleased
}

// wantEvents checks that these events, and no others, have been written.
func wantEvents(t *testing.T, w *world, want ...string) {
	t.Helper()
	w.do(func() {
		got := slices.Compact(slices.Sorted(slices.Values(w.events)))
		if !slices.Equal(got, want) {
			t.Errorf("events are %q, want %q", got, want)
		}
	})
}

// TestAdoption: PVs of the established provisioner are taken over, with and
// without the right to patch them, and each goes on in its life.
func TestAdoption(t *testing.T) {
	for _, noLabel := range []bool{false, true} {
		t.Run(fmt.Sprintf("noLabel=%v", noLabel), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(map[string]*fakeDisk{
					"free": {identity: "fs:1:/"}, "bound": {identity: "fs:2:/", bytes: "precious"}, "dev": {identity: "wwid:4", device: true, bytes: "old"},
				})
				w.unheld, w.noLabel = true, noLabel
				free := w.established("free")
				bound := w.established("bound", boundTo("db"))
				gone := w.established("gone")
				lost := w.established("lost", boundTo("lost"))
				dev := w.established("dev", released)
				a, stop := w.start(t, 0, false)
				defer func() { stop() }()
				settle()
				wantNames(t, w, "bound Bound", "dev Available", "free Available", "lost Bound")
				wantEvents(t, w, "PersistentVolume DiskGone", "PersistentVolumeClaim DiskGone")
				w.do(func() {
					if w.disks["dev"].bytes != "" || w.pvs[dev].UID == "old-dev" {
						t.Errorf("the released volume holds %q, its PV is %s", w.disks["dev"].bytes, w.pvs[dev].UID)
					}
					if w.disks["bound"].bytes != "precious" || w.pvs[bound].UID != "old-bound" || w.pvs[free].UID != "old-free" || w.pvs[gone] != nil {
						t.Error("a PV that was to stay, or to go, did not")
					}
					if labelled := w.pvs[bound].Labels[api.LabelNode] != ""; labelled == noLabel {
						t.Errorf("labelled: %v", labelled)
					}
					for _, pv := range w.pvs {
						if len(pv.Finalizers) > 0 {
							t.Errorf("PV %s has finalizers %q, which the old role could not take off", pv.Name, pv.Finalizers)
						}
					}
				})
				if why := a.notReady(); why != "" {
					t.Errorf("not ready: %s", why)
				}

				// A second start writes nothing.
				stop()
				w.do(func() { w.trail = nil })
				a, stop = w.start(t, 0, false)
				settle()
				w.do(func() {
					for _, step := range w.trail {
						if step == "create" || step == "withdraw" || step == "label" && !noLabel || strings.HasPrefix(step, "journal") || strings.HasPrefix(step, "wipe") {
							t.Errorf("a second start does: %s", step)
						}
					}
				})

				// Lives go on: a release, and the lost disk's return.
				w.edit(bound, func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeReleased })
				w.do(func() { w.disks["lost"] = &fakeDisk{identity: "fs:3:/", bytes: "a tenant's"} })
				a.trigger(false)
				settle()
				wantNames(t, w, "bound Available", "dev Available", "free Available", "lost Bound")
				w.edit(lost, func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeReleased })
				settle()
				wantNames(t, w, "bound Available", "dev Available", "free Available", "lost Available")
				w.do(func() {
					for name, d := range w.disks {
						if d.bytes != "" {
							t.Errorf("%s holds %q", name, d.bytes)
						}
					}
					if w.pvs[lost].Labels[api.LabelNode] == "" || w.pvs[bound].UID == "old-bound" {
						t.Error("what was published anew is not Berth's own")
					}
				})
			})
		})
	}
}

// TestTakeOverInterrupted: an API server that fails between the finding and the
// labelling leaves no PV in the agent's memory that is gone.
func TestTakeOverInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}, "b": {identity: "fs:2:/"}})
		w.unheld, w.down = true, true // lists get through
		gone := w.established("a")
		w.established("b")
		a, stop := w.start(t, 0, false)
		defer stop()
		synctest.Wait()
		if got := len(a.store.OldPVs()); got != 2 {
			t.Fatalf("%d PVs are known, want 2", got)
		}
		w.do(func() { delete(w.pvs, gone); w.down = false })
		settle()
		wantNames(t, w, "a Available", "b Available")
		w.do(func() {
			if w.pvs[gone].UID == "old-a" || w.pvs[gone].Labels[api.LabelNode] == "" {
				t.Error("the PV that went was not made anew")
			}
		})
		if got := a.store.OldPVs(); len(got) != 0 {
			t.Errorf("still without a label: %+v", got)
		}
	})
}

// TestLabelConflict: a conflict over a bound PV's label does not make it a PV that
// is gone, whose volume would be held back.
func TestLabelConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/", bytes: "precious"}})
		w.unheld, w.noLabel = true, true
		name := w.established("a", boundTo("db"))
		_, stop := w.start(t, 0, false)
		settle()
		stop()
		w.do(func() { w.noLabel, w.busy = false, 3 }) // the right was granted
		_, stop = w.start(t, 0, false)
		defer stop()
		settle()
		wantState(t, w, volume.IDOf("fs:1:/"), volume.Used)
		w.do(func() {
			if w.pvs[name].Labels[api.LabelNode] == "" {
				t.Error("it is not labelled after the conflicts are over")
			}
		})
	})
}

// TestNeverSeenDiskIsNotForgotten is guarantee 3 for an adopted PV whose disk was
// away from the start: with its PV removed by hand, what comes to its place is
// held back.
func TestNeverSeenDiskIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{})
		w.unheld = true
		name := w.established("lost", boundTo("db"))
		_, stop := w.start(t, 0, false)
		settle()
		forceAway(w, name)
		settle()
		stop()
		w.do(func() { w.disks["lost"] = &fakeDisk{identity: "fs:3:/", bytes: "a tenant's"} })
		_, stop = w.start(t, 0, false)
		defer stop()
		settle()
		wantNames(t, w)
		wantState(t, w, volume.IDOf("fs:3:/"), volume.Quarantined)
	})
}

// TestDeletedByHandUnheld: without a finalizer, a free PV that somebody deletes is
// published again, and one with a tenant's data is held back, also after the
// agent was away.
func TestDeletedByHandUnheld(t *testing.T) {
	for _, away := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(map[string]*fakeDisk{"dev": {identity: "wwid:1", device: true}, "dir": {identity: "fs:2:/"}, "used": {identity: "wwid:3", device: true}})
			w.unheld = true
			_, stop := w.start(t, 0, false)
			defer func() { stop() }()
			settle()
			var first []types.UID
			var used string
			w.do(func() {
				for _, pv := range w.pvs {
					if first = append(first, pv.UID); pv.Spec.Local.Path == "/mnt/disks/used" {
						used = pv.Name
					}
				}
			})
			w.edit(used, func(pv *corev1.PersistentVolume) { boundTo("db")(pv); w.disks["used"].bytes = "a tenant's" })
			settle()
			if away {
				stop()
			}
			for _, entry := range []string{"dev", "dir", "used"} {
				forceAway(w, publish.Name(entry, "node-1", "fast"))
			}
			if away {
				_, stop = w.start(t, 0, false)
			}
			settle()
			if away { // nobody has seen that no claim had the device
				wantNames(t, w, "dir Available")
				wantState(t, w, volume.IDOf("wwid:1"), volume.Quarantined)
			} else {
				wantNames(t, w, "dev Available", "dir Available")
			}
			wantState(t, w, volume.IDOf("wwid:3"), volume.Quarantined)
			w.do(func() {
				for _, pv := range w.pvs {
					if slices.Contains(first, pv.UID) {
						t.Errorf("PV %s is still there", pv.Name)
					}
				}
			})
		})
	}
}

// TestForgedPVs: PVs that claim to be this node's and are not are never touched,
// and reported; no second PV is made for a path that a stranger gives away.
func TestForgedPVs(t *testing.T) {
	for name, forge := range map[string]func(*corev1.PersistentVolume){
		"another node's annotation": func(pv *corev1.PersistentVolume) {
			pv.Annotations[api.AnnProvisionedBy] = "local-volume-provisioner-node-2"
		},
		"a foreign annotation": func(pv *corev1.PersistentVolume) { pv.Annotations[api.AnnProvisionedBy] = "example.com/other" },
		"another node's affinity": func(pv *corev1.PersistentVolume) {
			pv.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Values = []string{"node-2"}
		},
		"a path that begins like the directory": func(pv *corev1.PersistentVolume) { pv.Spec.Local.Path = "/mnt/disks2/a" },
		"a path deeper in the directory":        func(pv *corev1.PersistentVolume) { pv.Spec.Local.Path = "/mnt/disks/a/b" },
		"a path with ..":                        func(pv *corev1.PersistentVolume) { pv.Spec.Local.Path = "/mnt/disks/../other/a" },
		"a path that comes back":                func(pv *corev1.PersistentVolume) { pv.Spec.Local.Path = "/mnt/disks/x/../a" },
		"the directory itself":                  func(pv *corev1.PersistentVolume) { pv.Spec.Local.Path = "/mnt/disks" },
	} {
		for _, how := range []string{"old", "old, no right to label", "labelled", "with an identity"} {
			t.Run(name+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/", bytes: "precious"}})
					w.unheld, w.noLabel = true, strings.Contains(how, "no right")
					forged := w.established("zz", func(pv *corev1.PersistentVolume) { pv.Spec.Local.Path = "/mnt/disks/a" }, released, forge, func(pv *corev1.PersistentVolume) {
						if how == "labelled" || how == "with an identity" {
							pv.Labels = map[string]string{api.LabelNode: "node-1"}
						}
						if how == "with an identity" {
							metav1.SetMetaDataAnnotation(&pv.ObjectMeta, api.AnnIdentity, "fs:1:/")
						}
					})
					var before *corev1.PersistentVolume
					w.do(func() { before = w.pvs[forged].DeepCopy() })
					a, stop := w.start(t, 0, false)
					settle()
					a.trigger(true)
					settle()
					stop()
					w.do(func() {
						pv := w.pvs[forged]
						if pv == nil || pv.DeletionTimestamp != nil || w.disks["a"].bytes != "precious" {
							t.Fatalf("PV %v, data %q", pv, w.disks["a"].bytes)
						}
						got := pv.DeepCopy()
						if how == "old" { // the label says whose it is, and may have come before its path was judged
							got.Labels, got.ResourceVersion = nil, before.ResourceVersion
						}
						if !reflect.DeepEqual(got, before) {
							t.Errorf("it was changed from\n%v\nto\n%v", before, got)
						}
						if !slices.Contains(w.events, "PersistentVolume ForeignVolume") {
							t.Errorf("it is not reported: %q", w.events)
						}
					})
				})
			})
		}
	}
}

// TestForgedPVGoes: what was said of a PV that is not the node's is over when the
// PV is gone.
func TestForgedPVGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{})
		forged := w.established("a", func(pv *corev1.PersistentVolume) {
			pv.Labels = map[string]string{api.LabelNode: "node-1"}
			pv.Annotations[api.AnnProvisionedBy] = "local-volume-provisioner-node-2"
		})
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		if _, reported := a.reports.about(misfitSubject(forged)); !reported {
			t.Fatal("it is not reported")
		}
		forceAway(w, forged)
		settle()
		if _, reported := a.reports.about(misfitSubject(forged)); reported {
			t.Error("it is gone, and still reported")
		}
	})
}

// TestStrangerKeepsItsPath: a PV that somebody wrote by hand keeps the disk at its
// path from being given to a second claim, until it is gone.
func TestStrangerKeepsItsPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}, "b": {identity: "fs:2:/"}})
		name := w.established("by-hand", func(pv *corev1.PersistentVolume) { pv.Spec.Local.Path, pv.Annotations = "/mnt/disks/a", nil })
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		wantNames(t, w, "a Available", "b Available")
		w.do(func() {
			if len(w.pvs) != 2 {
				t.Errorf("%d PVs, want the stranger and b's", len(w.pvs))
			}
		})
		wantEvents(t, w, "Node EntryRefused", "PersistentVolume ForeignVolume")
		forceAway(w, name)
		a.trigger(true)
		settle()
		wantNames(t, w, "a Available", "b Available")
		w.do(func() {
			if w.pvs[publish.Name("a", "node-1", "fast")] == nil {
				t.Error("the stranger is gone, and its disk is still not published")
			}
		})
	})
}

// TestStrangerOfANewClass: a stranger is reported as soon as its class is in the
// configuration, be it the first that is read or an edit of it.
func TestStrangerOfANewClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		w.established("by-hand", func(pv *corev1.PersistentVolume) { pv.Annotations = nil })
		other := testClass
		other.Name, other.HostDir, other.MountDir = "other", "/mnt/other", "/mnt/other"
		a, stop := w.startWith(t, 0, false, other)
		defer stop()
		settle()
		wantEvents(t, w)
		cfg := *a.config()
		cfg.Classes = append([]config.Class{testClass}, cfg.Classes...)
		a.current.Store(&cfg)
		a.trigger(false) // as an edit of the file does
		settle()
		wantEvents(t, w, "PersistentVolume ForeignVolume")
	})
}

// TestForgedPVIsReportedOnce: what is wrong with a PV's path stays reported while
// the PV itself changes, and is over with it.
func TestForgedPVIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		w.unheld = true
		forged := w.established("zz", func(pv *corev1.PersistentVolume) { pv.Spec.Local.Path = "/mnt/disks2/a" })
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		w.edit(forged, func(pv *corev1.PersistentVolume) { pv.Annotations["seen"] = "by somebody" })
		settle()
		w.do(func() {
			if !slices.Equal(w.events, []string{"PersistentVolume ForeignVolume"}) {
				t.Errorf("events are %q", w.events)
			}
		})
		forceAway(w, forged)
		settle()
		if left := a.reports.counts(); len(left) > 0 {
			t.Errorf("the PV is gone, and there still is %v", left)
		}
	})
}
