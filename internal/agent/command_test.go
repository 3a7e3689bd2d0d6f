package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/control"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

const (
	heldDir = disk.ID("fs:1:/")
	heldDev = disk.ID("wwid:2")
)

// heldBack is a world with two volumes in quarantine, in which the first
// claims' bytes are.
func heldBack(t *testing.T, edit func(*world)) *world {
	t.Helper()
	w := newWorld(map[string]*fakeDisk{"dir": {identity: heldDir}, "dev": {identity: heldDev, device: true}})
	if edit != nil {
		edit(w)
	}
	_, stop := w.start(t, 0, false)
	settle()
	w.claimAll(t, "first")
	settle()
	w.do(func() {
		for _, pv := range w.pvs { // by force, finalizers and all
			gone := pv.DeepCopy()
			gone.Finalizers, gone.DeletionTimestamp = nil, &gone.CreationTimestamp
			w.store(gone)
		}
	})
	settle()
	wantState(t, w, volume.IDOf(heldDir), volume.Quarantined)
	wantState(t, w, volume.IDOf(heldDev), volume.Quarantined)
	stop()
	return w
}

// say gives a command as a person does: after looking.
func say(t *testing.T, a *Agent, identity disk.ID, word volume.Word, claim string) error {
	t.Helper()
	q := control.Request{Command: string(word), Claim: claim, Dry: true}
	v, err := desk{a}.Ask(t.Context(), string(volume.IDOf(identity)), q)
	if err != nil {
		return err
	}
	q.Dry, q.Identity, q.Path = false, v.Identity, v.Path
	_, err = desk{a}.Ask(t.Context(), string(volume.IDOf(identity)), q)
	return err
}

func pvAt(w *world, name string) *corev1.PersistentVolume {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, pv := range w.pvs {
		if strings.HasSuffix(pv.Spec.Local.Path, "/"+name) {
			return pv.DeepCopy()
		}
	}
	return nil
}

func TestCommands(t *testing.T) {
	for _, form := range []string{"", "standing in", "wiped in Jobs"} {
		for _, word := range volume.Words {
			t.Run(strings.TrimSpace(string(word)+" "+form), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := heldBack(t, func(w *world) {
						w.unheld = form == "standing in"
						if form == "wiped in Jobs" {
							class := testClass
							class.Wipe.Job = true
							w.class = &class
						}
					})
					a, stop := w.start(t, 0, false)
					defer stop()
					settle()
					for name, id := range map[string]disk.ID{"dir": heldDir, "dev": heldDev} {
						before := w.disks[name].bytes
						if err := say(t, a, id, word, ""); err != nil {
							t.Fatal(err)
						}
						settle()
						pv := pvAt(w, name)
						if pv == nil {
							t.Fatalf("%s has no PV:\n%s", name, w.state())
						}
						if ref := pv.Spec.ClaimRef; word != volume.Republish && ref != nil || word == volume.Republish &&
							(ref == nil || ref.Namespace != "ns" || !strings.HasPrefix(ref.Name, "first-") || ref.UID != "") {
							t.Errorf("%s: the PV is for claim %+v", name, ref)
						}
						if got := w.disks[name].bytes; word == volume.Erase && got != "" || word != volume.Erase && (got != before || got == "") {
							t.Errorf("%s holds %q", name, got)
						}
					}
					if !slices.Contains(w.events, "Node Commanded") {
						t.Errorf("events: %v", w.events)
					}
					if word != volume.Republish {
						return
					}
					w.edit(pvAt(w, "dir").Name, func(pv *corev1.PersistentVolume) {
						pv.Spec.ClaimRef.UID, pv.Status.Phase = "made-again", corev1.VolumeBound
					})
					settle()
					wantState(t, w, volume.IDOf(heldDir), volume.Used)
					w.edit(pvAt(w, "dir").Name, func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeReleased })
				})
			})
		}
	}
}

// What may have changed since the person looked is looked at again.
func TestCommandsLookAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *world)
		says   string
	}{
		{"another path", func(w *world) { w.disks["moved"] = w.disks["dir"]; delete(w.disks, "dir") }, "at /mnt/disks/moved, not"},
		{"disk gone", func(w *world) { delete(w.disks, "dir") }, "not there"},
		{"in two places", func(w *world) { w.disks["a"], w.disks["b"] = w.disks["dir"], w.disks["dir"]; delete(w.disks, "dir") }, "has the identity"},
		{"another disk", func(w *world) { w.disks["dir"] = &fakeDisk{identity: "fs:9:/"} }, "not there"},
		{"API server away", func(w *world) { w.down = true }, "down"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := heldBack(t, nil)
				a, stop := w.start(t, 0, false)
				defer stop()
				settle()
				id := string(volume.IDOf(heldDir))
				v, err := desk{a}.Ask(t.Context(), id, control.Request{Command: "wipe", Dry: true})
				if err != nil {
					t.Fatal(err)
				}
				w.do(func() { c.change(w) })
				a.trigger(true)
				settle()
				_, err = desk{a}.Ask(t.Context(), id, control.Request{Command: "wipe", Identity: v.Identity, Path: v.Path})
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want %q", err, c.says)
				}
				w.do(func() { w.down = false })
				settle()
				if len(w.wipes) > 0 {
					t.Errorf("wiped: %v", w.wipes)
				}
				wantState(t, w, volume.IDOf(heldDir), volume.Quarantined)
			})
		})
	}
}

// A PV that somebody has made again for the disk and that a claim has speaks
// against every command; one that a claim has left is taken away first.
func TestCommandsAndPVs(t *testing.T) {
	for _, phase := range []corev1.PersistentVolumePhase{corev1.VolumeBound, corev1.VolumeReleased} {
		for _, word := range volume.Words {
			t.Run(fmt.Sprintf("%s %s", phase, word), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := heldBack(t, nil)
					a, stop := w.start(t, 0, false)
					defer stop()
					settle()
					w.do(func() {
						pv := w.handMade(a, "dir", heldDir)
						pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: "by-hand", UID: "c"}
						pv.Status.Phase = phase
						w.store(pv)
					})
					settle()
					err := say(t, a, heldDir, word, "")
					settle()
					if phase == corev1.VolumeBound {
						if !errors.Is(err, control.ErrRefused) || pvAt(w, "dir").UID != "by-hand" || len(w.wipes) > 0 || w.disks["dir"].bytes == "" {
							t.Errorf("got %v:\n%s", err, w.state())
						}
						return
					}
					if pv := pvAt(w, "dir"); err != nil || pv == nil || pv.UID == "by-hand" {
						t.Errorf("got %v:\n%s", err, w.state())
					}
					if wiped := w.disks["dir"].bytes == ""; wiped != (word == volume.Erase) {
						t.Errorf("wiped: %v", wiped)
					}
				})
			})
		}
	}
}

// A PV that is gone is in the cache until the watch says so, and what the watch
// says of it before that is old: its release must not be obeyed once more.
func TestCommandWaitsForTheWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := heldBack(t, nil)
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		var pv *corev1.PersistentVolume
		w.do(func() {
			pv = w.handMade(a, "dir", heldDir)
			pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: "by-hand", UID: "c"}
			pv.Status.Phase = corev1.VolumeReleased
			w.store(pv)
		})
		settle()
		w.do(func() { delete(w.pvs, pv.Name) })
		if err := say(t, a, heldDir, volume.Release, ""); !errors.Is(err, control.ErrNotReady) {
			t.Errorf("before the watch has caught up: %v", err)
		}
		w.do(func() {
			pv = pv.DeepCopy()
			pv.Finalizers, pv.DeletionTimestamp = nil, &pv.CreationTimestamp
			w.process.watched <- watched{pv.DeepCopy(), false}
			w.process.watched <- watched{pv.DeepCopy(), true}
		})
		settle()
		if err := say(t, a, heldDir, volume.Release, ""); err != nil {
			t.Error(err)
		}
		settle()
		wantState(t, w, volume.IDOf(heldDir), volume.Published)
		if len(w.wipes) > 0 {
			t.Errorf("wiped: %v", w.wipes)
		}
	})
}

// handMade is a PV for a disk, as a person might make it again.
func (w *world) handMade(a *Agent, name string, id disk.ID) *corev1.PersistentVolume {
	s := &situation{slot: slot{class: testClass}}
	s.in.Disk = &volume.Disk{Path: testClass.HostDir + "/" + name, CapacityBytes: 1 << 30}
	class, _ := a.classes.Get(testClass.Name)
	pv := publish.PersistentVolume(a.spec(s, volume.Record{Identity: id, PV: volume.PVRef{Name: "by-hand"}}, class), a.node)
	pv.UID = "by-hand"
	return pv
}

// A damaged record says nothing but the ID. It is decided over once a disk with
// that ID is there.
func TestCommandsForDamagedRecord(t *testing.T) {
	for _, word := range volume.Words {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(map[string]*fakeDisk{})
			id := volume.IDOf(heldDev)
			w.records[id] = volume.Record{ID: id, State: volume.Quarantined, Reason: "damaged"}
			a, stop := w.start(t, 0, false)
			defer stop()
			settle()
			if err := say(t, a, heldDev, word, "ns/a"); !errors.Is(err, control.ErrRefused) {
				t.Errorf("%s without a disk: %v", word, err)
			}
			w.do(func() { w.disks["dev"] = &fakeDisk{identity: heldDev, device: true, bytes: "secret"} })
			a.trigger(true)
			settle()
			claim := ""
			if word == volume.Republish {
				if err := say(t, a, heldDev, word, ""); !errors.Is(err, control.ErrRefused) {
					t.Errorf("republished for nobody: %v", err)
				}
				claim = "ns/a"
			}
			if err := say(t, a, heldDev, word, claim); err != nil {
				t.Fatal(err)
			}
			settle()
			pv := pvAt(w, "dev")
			if pv == nil || (pv.Spec.ClaimRef != nil) != (claim != "") || (w.disks["dev"].bytes == "") != (word == volume.Erase) {
				t.Errorf("%s:\n%s", word, w.state())
			}
		})
	}
}

// A Job that was wiping when doubt came up writes no more once a person has
// given the volume back, and its success does not count for a later wipe.
func TestCommandEndsTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := heldBack(t, func(w *world) {
			class := testClass
			class.Wipe = config.Wipe{Method: config.DefaultWipe.Method, Job: true}
			w.class = &class
		})
		w.do(func() {
			r := w.records[volume.IDOf(heldDev)]
			r.Job = "before"
			w.records[r.ID] = r
			w.jobs["before"] = &fakeJob{}
		})
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		if err := say(t, a, heldDev, volume.Republish, ""); err != nil {
			t.Fatal(err)
		}
		settle()
		w.do(func() {
			if len(w.jobs) > 0 || w.records[volume.IDOf(heldDev)].Job != "" || w.disks["dev"].bytes == "" {
				t.Errorf("jobs %v, record %+v", w.jobs, w.records[volume.IDOf(heldDev)])
			}
		})
	})
}
