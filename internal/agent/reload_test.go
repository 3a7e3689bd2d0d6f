package agent

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/volume"
)

const head = "apiVersion: berth.storage/v1alpha1\nkind: AgentConfig\nclasses:\n"

// TestReload is guarantee 9: a bad file is refused and reported, the good one
// stays in force, and what is taken out of it is left alone.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
		a, stop := w.start(t, 0, false)
		defer stop()
		a.current.Store(nil)
		file := filepath.Join(t.TempDir(), "agent.yaml")
		dirs := newDirWatch(a.log, func() {})
		load := func(text string) string {
			t.Helper()
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			a.reload(t.Context(), config.File{Path: file, AllowedDirs: []string{"/mnt"}}, dirs)
			a.trigger(false)
			settle()
			a.reports.mu.Lock()
			defer a.reports.mu.Unlock()
			return a.reports.current[configSubject].message
		}

		if got := load(head + "- {name: fast, hostDir: /mnt/disks, volumMode: Block}\n"); !strings.Contains(got, file+":4: classes[0]") || !strings.Contains(got, "volumeMode") {
			t.Errorf("a misspelt field is reported as %q", got)
		}
		if why := a.notReady(); !strings.Contains(why, "configuration") {
			t.Errorf("without any good configuration the agent says %q", why)
		}
		wantNames(t, w)

		good := head + "- {name: fast, hostDir: /mnt/disks}\n"
		if got := load(good); got != "" {
			t.Fatalf("a good file is refused: %s", got)
		}
		wantNames(t, w, "a Available")

		for _, bad := range []string{
			"", head, good + "x: 1\n",
			head + "- {name: fats, hostDir: /mnt/disks}\n",      // no such StorageClass
			head + "- {name: fast, hostDir: /srv/disks}\n",      // not given to the agent
			good + "- {name: other, hostDir: /mnt/disks/sub}\n", // overlapping
		} {
			if got := load(bad); !strings.Contains(got, "the last good one stays in force") || !strings.Contains(got, file) {
				t.Errorf("%q is reported as %q", bad, got)
			}
			if why := a.notReady(); why != "" {
				t.Errorf("a bad edit makes the agent unready: %s", why)
			}
			wantNames(t, w, "a Available")
		}

		if err := a.classes.Add(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "other"}}); err != nil {
			t.Fatal(err)
		}
		if got := load(head + "- {name: other, hostDir: /mnt/other}\n"); got != "" {
			t.Fatalf("a good file is refused: %s", got)
		}
		w.do(func() {
			for _, pv := range w.pvs {
				if pv.Spec.StorageClassName == "fast" && pv.DeletionTimestamp != nil {
					t.Error("a PV of a class that was taken out of the configuration is deleted")
				}
			}
			if len(w.events) == 0 || w.events[0] != "Node ConfigRefused" {
				t.Errorf("events are %v", w.events)
			}
		})
	})
}

// TestStandInGoesOnWithoutAClass: as with the established provisioner, a class
// without a StorageClass keeps no other from being published.
func TestStandInGoesOnWithoutAClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
		w.unheld = true
		a, stop := w.start(t, 0, false)
		defer stop()
		a.current.Store(nil)
		file := filepath.Join(t.TempDir(), "agent.yaml")
		if err := os.WriteFile(file, []byte(head+"- {name: fast, hostDir: /mnt/disks}\n- {name: lost, hostDir: /mnt/lost}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		a.reload(t.Context(), config.File{Path: file}, newDirWatch(a.log, func() {}))
		a.trigger(false)
		settle()
		wantNames(t, w, "a Available")
		a.reports.mu.Lock()
		defer a.reports.mu.Unlock()
		if got := a.reports.current[configSubject].message; !strings.Contains(got, `no StorageClass "lost"`) {
			t.Errorf("reported: %q", got)
		}
	})
}

// TestRecycleIsRefused: a class with a reclaim policy that nobody can keep is not
// published.
func TestRecycleIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{"a": {identity: "fs:1:/"}})
		a, stop := w.start(t, 0, false)
		defer stop()
		recycle := corev1.PersistentVolumeReclaimRecycle
		if err := a.classes.Update(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, ReclaimPolicy: &recycle}); err != nil {
			t.Fatal(err)
		}
		settle()
		wantNames(t, w)
		wantEvents(t, w, "Node PublishFailed")
	})
}

// poolHead heads a configuration with the class of the other tests.
const poolHead = head + "- {name: fast, hostDir: /mnt/disks}\npools:\n"

// TestReloadKeepsPools: a pool with volumes is neither taken out nor moved,
// whether the pool itself or the journal knows of them, and one without is.
func TestReloadKeepsPools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		w.records["x"] = volume.Record{ID: "x", State: volume.Wiping, Entry: "pvc-x", Carved: &volume.Carved{Pool: "away"}}
		a, stop := w.start(t, 0, false)
		defer stop()
		disks := newFakeDisks("/mnt/empty", "/mnt/hung")
		disks.mount("/mnt/full", "full", "pvc-1", "pvc-2")
		a.pools.open = disks.open
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		file := filepath.Join(t.TempDir(), "agent.yaml")
		load := func(pools ...string) string {
			t.Helper()
			text := poolHead
			for _, p := range pools {
				text += "- {kind: btrfs, " + p + "}\n"
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			a.reload(ctx, config.File{Path: file}, newDirWatch(a.log, func() {}))
			settle()
			got, _ := a.reports.about(configSubject)
			return got.message
		}
		const full, away, empty, hung = "name: full, path: /mnt/full", "name: away, path: /mnt/away", "name: empty, path: /mnt/empty", "name: hung, path: /mnt/hung"
		if got := load(full, away, empty, hung); got != "" {
			t.Fatalf("a good file is refused: %s", got)
		}
		slow := make(chan struct{})
		disks.at["/mnt/hung"].slow = slow
		for _, c := range []struct {
			want  string
			pools []string
		}{
			{`:6: pools: the pool "full" (btrfs at /mnt/full) is missing, and has 2 volumes, such as pvc-1`, []string{away, empty, hung}},
			{`:6: pools[0].path: the pool "full" is now btrfs at /mnt/x, and has 2 volumes, such as pvc-1 in btrfs at /mnt/full`, []string{"name: full, path: /mnt/x", away, empty, hung}},
			{`:6: pools: the pool "away" (btrfs at /mnt/away) is missing, and has a volume, pvc-x`, []string{full, empty, hung}},
			{`the pool "hung" (btrfs at /mnt/hung) is missing, and has volumes, or does not tell that it has none`, []string{full, away, empty}},
		} {
			if got := load(c.pools...); !strings.Contains(got, file+c.want) && !strings.Contains(got, c.want) || !strings.Contains(got, "the last good one stays in force") {
				t.Errorf("want %s\ngot  %s", c.want, got)
			}
			if names := a.pools.Names(); !slices.Equal(names, []string{"away", "empty", "full", "hung"}) || len(a.config().Pools) != 4 {
				t.Errorf("the pools are %q", names)
			}
		}
		close(slow)
		settle()
		if got := load(full, away); got != "" {
			t.Errorf("without the pools that have nothing: %s", got)
		}
	})
}

// TestStartWithoutAPool: at a start there is no configuration that could stay in
// force. A pool that it lacks is reported, and its records are kept.
func TestStartWithoutAPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		w.records["x"] = volume.Record{ID: "x", Identity: volume.CarvedIdentity("pvc-x"), State: volume.Used, Entry: "pvc-x", Carved: &volume.Carved{Pool: "lost"}}
		a, stop := w.start(t, 0, false)
		defer stop()
		disks := newFakeDisks("/mnt/other")
		a.pools.open = disks.open
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		a.current.Store(nil)
		file := filepath.Join(t.TempDir(), "agent.yaml")
		load := func(pool, want string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(poolHead+"- {kind: btrfs, "+pool+"}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			a.reload(ctx, config.File{Path: file}, newDirWatch(a.log, func() {}))
			settle()
			if got, _ := a.reports.about(configSubject); got.message != "" {
				t.Fatalf("refused: %s", got.message)
			}
			if got, _ := a.reports.about(poolSubject("lost")); !strings.Contains(got.message, want) || (want == "") != (got.message == "") {
				t.Errorf("reported: %q, want %q", got.message, want)
			}
			w.do(func() {
				if r := w.records["x"]; r.State != volume.Used {
					t.Errorf("the record is %+v", r)
				}
			})
		}
		load("name: other, path: /mnt/other", `pool "lost" is not in the configuration, and the journal knows a volume, pvc-x, of it; what is in it is kept`)
		load("name: other, path: /mnt/other", `is not in the configuration`)
		load("name: lost, path: /mnt/lost", "nothing is mounted there")
		disks.mount("/mnt/lost", "made anew")
		a.pools.check()
		settle()
		load("name: lost, path: /mnt/lost", "has none of the 1 volumes that the journal knows, such as pvc-x")
		disks.mount("/mnt/lost", "the same", "pvc-x")
		a.pools.check()
		settle()
		load("name: lost, path: /mnt/lost", "")
		if _, ok := a.pools.Get("lost"); !ok {
			t.Error("it is not open")
		}
		wantEvents(t, w, "Node PoolUnfit")
	})
}
