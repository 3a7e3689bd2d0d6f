package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/internal/config"
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
