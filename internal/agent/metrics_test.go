package agent

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/publish/metrictest"
	"github.com/berth-storage/berth/internal/volume"
	"github.com/berth-storage/berth/internal/wipe"
)

// scrape returns what an agent answers on a path.
func scrape(t *testing.T, a *Agent, path string) (code int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	a.handler("/m").ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	data, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(data)
}

// wantSamples checks samples, each as the text format has it, without the
// established names' prefix. One that ends in a blank must not be there.
func wantSamples(t *testing.T, a *Agent, when string, want ...string) {
	t.Helper()
	code, body := scrape(t, a, "/m")
	if code != http.StatusOK {
		t.Fatalf("%s: status %d", when, code)
	}
	lines := strings.Split(strings.ReplaceAll(body, establishedPrefix, ""), "\n")
	for _, sample := range want {
		if name, absent := strings.CutSuffix(sample, " "); absent {
			if strings.Contains(strings.Join(lines, "\n"), "\n"+name) {
				t.Errorf("%s: there is a sample of %s", when, name)
			}
			continue
		}
		if slices.Contains(lines, sample) {
			continue
		}
		name, _, _ := strings.Cut(sample, "{")
		name, _, _ = strings.Cut(name, " ")
		var near []string
		for _, l := range lines {
			if strings.HasPrefix(l, name) {
				near = append(near, l)
			}
		}
		t.Errorf("%s: no sample %s; there are\n  %s", when, sample, strings.Join(near, "\n  "))
	}
}

// life takes a directory and a block device through a whole life and calls look
// at its points.
func life(t *testing.T, look func(a *Agent, when string)) {
	w := newWorld(map[string]*fakeDisk{
		"dir": {identity: "fs:1:/", size: 10 << 30}, "dev": {identity: "wwid:2", device: true, size: 600 << 30},
		"stray": {plain: true}, "foreign": {identity: "wwid:3", device: true, refused: "is somebody's"},
	})
	class := testClass
	class.Wipe = config.Wipe{Method: config.WipeShred, Passes: 3}
	a, stop := w.startWith(t, 0, false, class)
	defer stop()
	api := newAPIMetrics()
	api.register(a.metrics.registry)
	send(t, api, http.MethodGet, "/api/v1/nodes/node-1", http.StatusOK)
	settle()
	look(a, "published")

	w.do(func() { w.disks["dir"].size = 20 << 30 })
	a.trigger(true)
	settle()
	look(a, "grown")

	w.claimAll(t, "tenant")
	settle()
	wiping := make(chan struct{})
	w.do(func() {
		w.disks["dir"].unwiped = errors.New("IO error")
		w.disks["dev"].wiping = wiping
	})
	w.releaseAll()
	settle()
	look(a, "cleaning")

	time.Sleep(3 * time.Hour)
	w.do(func() { w.disks["dir"].unwiped, w.down = nil, true })
	close(wiping)
	settle()
	time.Sleep(diskRetry)
	synctest.Wait()
	look(a, "API server away")

	w.do(func() { w.down = false })
	settle()
	look(a, "published anew")
}

// The metrics say what has happened, under the established names and Berth's.
func TestMetricsThroughALife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const dev, job = `{mode="Block",type="process"}`, `{mode="Block",type="job"}`
		const dir = `{mode="Filesystem",type="process"}`
		want := map[string][]string{
			"published": {
				`persistentvolume_capacity_bytes{mode="Block"} 6.442450944e+11`, `persistentvolume_capacity_bytes{mode="Filesystem"} 1.073741824e+10`,
				`persistentvolume_discovery_total{mode="Block"} 1`, `persistentvolume_discovery_total{mode="Filesystem"} 1`,
				`persistentvolume_discovery_duration_seconds_count{mode="Block"} 1`,
				`persistentvolume_delete_total` + dev + ` 0`, `persistentvolume_delete_total` + job + ` 0`, `persistentvolume_delete_failed_total` + dir + ` 0`,
				`proctable_running 0`, `proctable_succeeded 0`, `proctable_failed 0`,
				`berth_volumes{class="fast",state="Published"} 2`, `berth_volume_capacity_bytes{class="fast"} 6.5498251264e+11`,
				`berth_queue_depth 0`, `berth_ready 1`, `berth_troubles{reason="EntryRefused"} 2`,
			},
			"grown": { // withdrawn and published anew: nobody's volume was cleaned
				`persistentvolume_capacity_bytes{mode="Filesystem"} 2.147483648e+10`, `persistentvolume_discovery_total{mode="Filesystem"} 2`,
				`persistentvolume_delete_total` + dir + ` 0`,
			},
			"cleaning": {
				`persistentvolume_capacity_bytes{mode="Block"} 6.442450944e+11`,
				`proctable_running 1`, `proctable_succeeded 0`, `proctable_failed 1`, `persistentvolume_delete_total` + dev + ` 0`,
				`berth_wipe_done_bytes{class="fast",phase="erase",pv="local-pv-a263a3c0"} 6.442450944e+09`,
				`berth_volumes{class="fast",state="Wiping"} 2`, `berth_queue_depth 2`, `berth_wipe_duration_seconds_count `,
			},
			"API server away": { // the directory's retry asks the API server first
				`proctable_running 0`, `proctable_succeeded 1`, `proctable_failed 1`, `persistentvolume_delete_total` + dev + ` 0`,
			},
			"published anew": {
				`persistentvolume_delete_total` + dev + ` 1`, `persistentvolume_delete_total` + dir + ` 1`,
				`persistentvolume_delete_duration_seconds_bucket{capacity="1000G",cleanup_command="/scripts/shred.sh",mode="Block",type="process",le="7200"} 0`,
				`persistentvolume_delete_duration_seconds_bucket{capacity="1000G",cleanup_command="/scripts/shred.sh",mode="Block",type="process",le="14400"} 1`,
				`persistentvolume_delete_duration_seconds_count{capacity="500G",cleanup_command="/scripts/fsclean.sh",mode="Filesystem",type="process"} 1`,
				`proctable_running 0`, `proctable_succeeded 0`, `proctable_failed 0`,
				`persistentvolume_discovery_total{mode="Block"} 2`, `persistentvolume_discovery_total{mode="Filesystem"} 3`,
				`berth_wipe_total{class="fast",outcome="verified"} 2`, `berth_volumes{class="fast",state="Published"} 2`,
			},
		}
		life(t, func(a *Agent, when string) { wantSamples(t, a, when, want[when]...); delete(want, when) })
		for when := range want {
			t.Errorf("the life has no point %q", when)
		}
	})
}

// docs/metrics.md lists the metrics that there are, with type and labels, and
// no others.
func TestMetricsAreDocumented(t *testing.T) {
	all := map[string]*dto.MetricFamily{} // by name; some have samples at some points of a life only
	synctest.Test(t, func(t *testing.T) {
		life(t, func(a *Agent, _ string) {
			_, removal, end := a.wipings.begin(t.Context(), volume.Record{ID: "a directory's, which has no time in the life"})
			defer end()
			removal.Set(wipe.Stand{Phase: wipe.PhaseErase})
			a.pools.open = newFakeDisks("/mnt/pool").open
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			a.pools.set(ctx, []config.Pool{{Name: "fast", Kind: config.PoolBtrfs, Path: "/mnt/pool"}})
			settle()
			families, err := a.metrics.registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				all[f.GetName()] = f
			}
		})
	})
	metrictest.Documented(t, slices.Collect(maps.Values(all)), "## Metrics", "## Under the established provisioner's names")
}
