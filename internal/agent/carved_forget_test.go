package agent

import (
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/volume"
)

// TestForgottenVolume: where a pool's disk is lost a person gives its volumes up,
// so that nothing is expected of another disk at its place; not while a claim has
// one, nor while it is there. On a disk that comes back after all it is kept and
// held back.
func TestForgottenVolume(t *testing.T) {
	carvedNow(t, func(t *testing.T, w *world, a *Agent) {
		forget := func(refused string) {
			t.Helper()
			err := say(t, a, volume.CarvedIdentity("pvc-a"), volume.GiveUp, "")
			if refused == "" && err != nil || refused != "" && (err == nil || !strings.Contains(err.Error(), refused)) {
				t.Errorf("to forget it: %v, want %q", err, refused)
			}
		}
		disk := func(away bool) {
			w.mu.Lock()
			w.carved.store.away = away
			w.mu.Unlock()
			a.poolChanged(t.Context(), "pool")
			settle()
		}
		w.place("a", 40*mib)
		settle()
		w.bindCarved()
		settle()
		forget("it is in pool pool")
		w.mu.Lock()
		w.carved.store.pieces["pvc-a"].bytes = "secret"
		w.mu.Unlock()
		disk(true)
		forget("delete that claim first")
		w.releaseCarved("a")
		settle()
		if got := a.expectedIn("pool"); len(got) != 1 || got[0] != "pvc-a" {
			t.Errorf("before it is forgotten the pool is to have %v", got)
		}
		forget("")
		settle()
		_, known := w.process.Get(carvedID("pvc-a"))
		if got := a.expectedIn("pool"); known || len(w.pvs) != 0 || len(got) != 0 {
			t.Errorf("after it is forgotten the journal knows it: %v, the PVs are %v, and the pool is to have %v", known, w.pvs, got)
		}

		disk(false)
		if r, _ := w.process.Get(carvedID("pvc-a")); r.State != volume.Quarantined {
			t.Errorf("when its disk is back its record is %+v", r)
		}
		if v := w.carved.store.pieces[pool.ID("pvc-a")]; v == nil || v.bytes != "secret" {
			t.Errorf("what is there of it is %+v", v)
		}
	})
}

// TestForgottenAndBack: its disk comes back between the word and the deed.
func TestForgottenAndBack(t *testing.T) {
	carvedNow(t, func(t *testing.T, w *world, a *Agent) {
		w.place("a", 40*mib)
		settle()
		w.bindCarved()
		settle()
		r, _ := w.process.Get(carvedID("pvc-a"))
		w.releaseCarved("a")
		a.discovered.Store(false) // no worker is at it
		settle()
		r.State, r.Reason, r.Asked, r.AskedAt = volume.Quarantined, "it is not in its pool", volume.GiveUp, "now"
		if err := a.journal.Put(r); err != nil {
			t.Fatal(err)
		}
		a.discovered.Store(true)
		a.kickAll()
		settle()
		if now, _ := w.process.Get(r.ID); now.State != volume.Quarantined || now.Asked != "" || !strings.Contains(now.Reason, "in its pool again") {
			t.Errorf("its record is %+v", now)
		}
	})
}
