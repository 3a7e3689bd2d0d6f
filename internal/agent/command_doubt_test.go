package agent

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/internal/control"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/volume"
)

// unseen puts a PV into the API server of which no watch tells.
func (w *world) unseen(a *Agent, entry string, identity disk.ID, name string, phase corev1.PersistentVolumePhase) {
	pv := w.handMade(a, entry, identity)
	pv.Name, pv.Status.Phase, pv.ResourceVersion = name, phase, "1000"
	pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: "unseen", UID: "c"}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pvs[name] = pv
}

// What the journal does not know of a damaged record's PV, the API server says:
// a claim that has it keeps it, also before the watch tells of it.
func TestDamagedRecordOfABoundPV(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"dev": {identity: heldDev, device: true, bytes: "secret"}})
		id := volume.IDOf(heldDev)
		w.records[id] = volume.Record{ID: id, State: volume.Quarantined, Reason: "damaged"}
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		w.unseen(a, "dev", heldDev, a.pvName(volume.Record{Class: testClass.Name, Entry: "dev"}), corev1.VolumeBound)
		if err := say(t, a, heldDev, volume.Erase, ""); !errors.Is(err, control.ErrRefused) {
			t.Errorf("got %v", err)
		}
		settle()
		if len(w.wipes) > 0 {
			t.Errorf("wiped: %v", w.wipes)
		}
	})
}

// The API server is asked once more right before a wipe that a person asked
// for: any PV that may be the volume's stops it.
func TestAskedWipeNeedsTheServersWord(t *testing.T) {
	for _, c := range []struct {
		name     string
		entry    string
		identity disk.ID
		phase    corev1.PersistentVolumePhase
		wiped    bool
	}{
		{"its own, bound", "dir", heldDir, corev1.VolumeBound, false},
		{"its own, released", "dir", heldDir, corev1.VolumeReleased, false},
		{"at its path, without an identity", "dir", "", corev1.VolumeBound, false},
		{"another volume's of that name", "other", "fs:9:/", corev1.VolumeBound, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := heldBack(t, nil)
				a, stop := w.start(t, 0, false)
				defer stop()
				settle()
				s := &situation{}
				id := volume.IDOf(heldDir)
				a.gather(id, s)
				r := *s.in.Record
				r.State, r.Asked, r.AskedAt, r.PV.UID = volume.Wiping, volume.Erase, "2026-01-02T03:04:05Z", ""
				w.unseen(a, c.entry, c.identity, r.PV.Name, c.phase)
				_, err := a.wipeNow(t.Context(), id, s, r)
				if wiped := slices.Contains(w.wipes, "dir"); wiped != c.wiped || (err == nil) != c.wiped {
					t.Errorf("wiped %v, %v", wiped, err)
				}
			})
		})
	}
}

// A person decides over the disk that was shown: should it be elsewhere before
// that is carried out, it may be a copy.
func TestCommandStaysAtThePlace(t *testing.T) {
	for _, word := range []volume.Word{volume.Republish, volume.Erase} {
		synctest.Test(t, func(t *testing.T) { staysAtThePlace(t, word) })
	}
}

func staysAtThePlace(t *testing.T, word volume.Word) {
	w := heldBack(t, nil)
	a, stop := w.start(t, 0, false)
	defer stop()
	settle()
	w.do(func() {
		pv := w.handMade(a, "dir", heldDir)
		pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: "by-hand", UID: "c"}
		pv.Status.Phase, pv.Finalizers = corev1.VolumeReleased, []string{"somebody/holds-it"}
		w.store(pv)
	})
	settle()
	if err := say(t, a, heldDir, word, ""); err != nil {
		t.Fatal(err)
	}
	settle()
	move := func(from, to string) {
		w.do(func() { w.disks[to] = w.disks[from]; delete(w.disks, from) })
		a.trigger(true)
		settle()
	}
	move("dir", "elsewhere")
	w.edit("by-hand", func(pv *corev1.PersistentVolume) { pv.Finalizers = nil })
	settle()
	if pv := pvAt(w, "elsewhere"); len(w.wipes) > 0 || pv != nil {
		t.Errorf("%s elsewhere: wiped %v, PV %v", word, w.wipes, pv)
	}
	move("elsewhere", "dir")
	if wiped := w.disks["dir"].bytes == ""; wiped != (word == volume.Erase) || pvAt(w, "dir") == nil {
		t.Errorf("%s back at its place: wiped %v, holds %q:\n%s", word, w.wipes, w.disks["dir"].bytes, w.state())
	}
}

// The success of a Job that wiped the volume for an earlier command does not
// count for a later one.
func TestJobOfAnEarlierCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := heldBack(t, func(w *world) {
			class := testClass
			class.Wipe.Job = true
			w.class = &class
		})
		ended := make(chan struct{})
		close(ended)
		w.do(func() { w.jobs[w.records[volume.IDOf(heldDev)].PV.Name] = &fakeJob{ended: ended} })
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		if err := say(t, a, heldDev, volume.Erase, ""); err != nil {
			t.Fatal(err)
		}
		settle()
		if w.disks["dev"].bytes != "" || pvAt(w, "dev") == nil {
			t.Errorf("it holds %q:\n%s", w.disks["dev"].bytes, w.state())
		}
	})
}
