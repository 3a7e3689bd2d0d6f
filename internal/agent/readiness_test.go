package agent

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// wantReady checks what both paths of readiness answer; "" is ready.
func wantReady(t *testing.T, a *Agent, when string, want ...string) {
	t.Helper()
	for _, path := range []string{"/readyz", "/ready"} {
		code, body := scrape(t, a, path)
		if len(want) == 0 {
			if code != http.StatusOK || body != "ok\n" {
				t.Errorf("%s: %s answers %d %q, want ok", when, path, code, body)
			}
			continue
		}
		for _, part := range want {
			if code != http.StatusServiceUnavailable || !strings.Contains(body, part) {
				t.Errorf("%s: %s answers %d %q, want 503 and %q", when, path, code, body, part)
			}
		}
	}
	if code, _ := scrape(t, a, "/healthz"); code != http.StatusOK {
		t.Errorf("%s: /healthz answers %d", when, code)
	}
}

// Ready means that each volume that is to be published is, and stays.
func TestReadyWhenPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}, "b": {identity: "wwid:2", device: true}})
		w.do(func() { w.down = true })
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		wantReady(t, a, "API server refuses", "not published yet: 2", "/mnt/disks/a", "down")
		w.do(func() { w.down = false })
		settle()
		wantReady(t, a, "published")

		w.do(func() { w.down, w.disks["c"] = true, &fakeDisk{identity: "fs:3:/"} })
		a.trigger(false)
		settle()
		wantNames(t, w, "a Available", "b Available")
		wantReady(t, a, "a later volume is not published")
	})
}

// What is not to be published, or cannot be, does not keep a node unready.
func TestReadyWithout(t *testing.T) {
	for what, disks := range map[string]map[string]*fakeDisk{
		"nothing there":           {},
		"no mount":                {"x": {plain: true}},
		"must not be published":   {"x": {identity: "wwid:1", device: true, refused: "is somebody's"}},
		"two copies":              {"x": {identity: "fs:1:/"}, "y": {identity: "fs:1:/"}},
		"somebody else's volumes": {"x": {identity: "fs:1:/"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(disks)
			a, stop := w.start(t, 0, false)
			if what == "somebody else's volumes" {
				settle()
				stop()
				forceAway(w, onePV(w).Name)
				w.do(func() { w.disks["x"].bytes = "a tenant's" })
				a, stop = w.start(t, 0, false)
			}
			defer stop()
			time.Sleep(time.Second) // the clock of the bubble; less than any patience
			synctest.Wait()
			wantReady(t, a, what)
		})
	}
}

// Volumes in use, or on their way back, are as they should be when an agent
// starts, whatever the API server says to it.
func TestReadyWhileUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}, "b": {identity: "wwid:2", device: true}})
		_, stop := w.start(t, 0, false)
		settle()
		w.claimAll(t, "tenant")
		settle()
		stop()
		w.do(func() { w.disks["b"].unwiped = errors.New("IO error") })
		w.edit(w.pvOf("b"), func(pv *pvObject) { pv.Status.Phase = "Released" })
		a, stop := w.start(t, 0, false)
		defer stop()
		settle()
		wantReady(t, a, "one in use, one that cannot be wiped")
		wantSamples(t, a, "one that cannot be wiped", "proctable_failed 1")
	})
}

func (w *world) pvOf(entry string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, pv := range w.pvs {
		if strings.HasSuffix(pv.Spec.Local.Path, "/"+entry) {
			return name
		}
	}
	return ""
}

// A disk that does not answer, or only with errors, keeps the node unready for
// a while only, and is reported.
func TestReadyWithoutASickDisk(t *testing.T) {
	for what, sick := range map[string]func(d *fakeDisk, well chan struct{}){
		"hung":   func(d *fakeDisk, well chan struct{}) { d.hang = well },
		"errors": func(d *fakeDisk, _ chan struct{}) { d.unread = errors.New("IO error") },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}, "b": {identity: "fs:2:/"}})
			well := make(chan struct{})
			sick(w.disks["a"], well)
			a, stop := w.start(t, 0, false)
			defer stop()
			time.Sleep(inspectPatience - time.Second)
			synctest.Wait()
			wantReady(t, a, what, "not published yet: 1", `"/mnt/disks/a" has not been looked at yet`)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			wantReady(t, a, what)
			wantNames(t, w, "b Available")
			reason := map[string]string{"hung": "Node DiskHung", "errors": "Node EntryRefused"}[what]
			w.do(func() {
				if len(w.events) != 1 || w.events[0] != reason {
					t.Errorf("%s: events are %q, want one %s", what, w.events, reason)
				}
				w.disks["a"].unread = nil
			})
			close(well)
			settle()
			wantNames(t, w, "a Available", "b Available")
			if _, still := a.reports.about("entry/fast/a"); still {
				t.Errorf("%s: it is well again, and the report stays", what)
			}
		})
	}
}

// What a volume's record, PV and trouble say of whether it is still to be
// published.
func TestUnpublished(t *testing.T) {
	id := volume.IDOf("fs:1:/")
	pv := func(deleting, held bool) *pvObject {
		out := publish.PersistentVolume(publish.Spec{Name: "pv", Path: "/mnt/disks/a", Identity: "fs:1:/", Class: "fast"}, testNode())
		out.UID = "u1"
		if deleting {
			out.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		}
		if !held {
			out.Finalizers = []string{"example/other"}
		}
		return out
	}
	for _, c := range []struct {
		name    string
		state   volume.State // "" for no record
		pv      *pvObject
		trouble string // reason
		refused string
		copies  bool
		want    string // "" for: not to be waited for
	}{
		{name: "just found", want: "about to be"},
		{name: "just found, with a PV", pv: pv(false, true), want: "about to be"},
		{name: "refused", refused: "is in use"},
		{name: "refused, published before", refused: "is in use", state: volume.Clean, want: "about to be"},
		{name: "two copies", copies: true},
		{name: "to be published", state: volume.Clean, want: "about to be"},
		{name: "being published", state: volume.Published, want: "about to be"},
		{name: "publishing fails", state: volume.Published, trouble: api.ReasonPublishFailed, want: "the trouble"},
		{name: "place taken", state: volume.Published, trouble: api.ReasonEntryRefused},
		{name: "published", state: volume.Published, pv: pv(false, true)},
		{name: "published, and a later request fails", state: volume.Published, pv: pv(false, true), trouble: api.ReasonPublishFailed},
		{name: "being withdrawn", state: volume.Withdrawing, pv: pv(true, true), want: "about to be"},
		{name: "held by others", state: volume.Withdrawing, pv: pv(true, false)},
		{name: "used", state: volume.Used},
		{name: "being wiped", state: volume.Wiping},
		{name: "wiped", state: volume.Wiped},
		{name: "quarantined", state: volume.Quarantined},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(nil)
			a, stop := w.start(t, 0, false)
			defer stop()
			synctest.Wait()
			if c.state != "" {
				w.do(func() { w.records[id] = volume.Record{ID: id, State: c.state} })
			}
			if c.pv != nil {
				a.store.Put(c.pv, false)
			}
			if c.trouble != "" {
				a.reports.set(volumeSubject(id), c.trouble, "the trouble")
			}
			v := found{id: id, copies: c.copies, slot: slot{disk: &volume.Disk{Refused: c.refused}}}
			if got := a.unpublished(v); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("%s: says %q, want %q", c.name, got, c.want)
			}
		})
	}
}
