package recovery

import (
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish/metrictest"
)

func good() Options {
	return Options{Classes: []string{"fast"}, Workers: 10, Delay: time.Minute, StaleInterval: 10 * time.Second, Resync: 10 * time.Minute, MetricsPath: "/metrics",
		LeaderElect: true, Namespace: "ns", LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second}
}

func TestOptions(t *testing.T) {
	if err := good().Check(); err != nil {
		t.Error(err)
	}
	for flag, spoil := range map[string][]func(*Options){
		"--storageclass-names":          {func(o *Options) { o.Classes = nil }, func(o *Options) { o.Classes = []string{"a", ""} }, func(o *Options) { o.Classes = []string{"a", " b"} }},
		"--worker-threads":              {func(o *Options) { o.Workers = 0 }, func(o *Options) { o.Workers = -1 }},
		"--pvc-deletion-delay":          {func(o *Options) { o.Delay = -1 }},
		"--stale-pv-discovery-interval": {func(o *Options) { o.StaleInterval = 0 }},
		"--resync":                      {func(o *Options) { o.Resync = -1 }},
		"--metrics-path":                {func(o *Options) { o.MetricsPath = "" }, func(o *Options) { o.MetricsPath = "/healthz" }, func(o *Options) { o.MetricsPath = "/{x" }},
		"--namespace":                   {func(o *Options) { o.Namespace = "" }},
		"--leader-elect-lease-duration": {func(o *Options) { o.LeaseDuration = 0 }},
		"--leader-elect-renew-deadline": {func(o *Options) { o.RenewDeadline = 15 * time.Second }},
		"--leader-elect-retry-period":   {func(o *Options) { o.RetryPeriod = 10 * time.Second }, func(o *Options) { o.RetryPeriod = 0 }},
	} {
		for _, s := range spoil {
			o := good()
			s(&o)
			if err := o.Check(); err == nil || !strings.Contains(err.Error(), flag) {
				t.Errorf("%+v: error %v, want one that names %s", o, err, flag)
			}
		}
	}
}

// TestMetricsAreDocumented: docs/metrics.md has the metrics that there are.
func TestMetricsAreDocumented(t *testing.T) {
	o := good()
	o.Log = slog.New(slog.DiscardHandler)
	c := newController(o, nil, nil, newMetrics())
	defer c.queue.ShutDown()
	c.metrics.requests.WithLabelValues("GET", "200", "host")
	c.reports.set(t.Context(), "a volume", api.ReasonNodeAlive, "trouble")
	families, err := c.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	metrictest.Documented(t, families, "## The controller")
}

// A controller that stands by is ready as soon as it knows the cluster.
func TestHealthAndMetrics(t *testing.T) {
	o := good()
	o.MetricsPath = "/numbers"
	c := newController(o, nil, nil, newMetrics())
	defer c.queue.ShutDown()
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		c.handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String()
	}
	if code, body := get("/readyz"); code != 503 || !strings.Contains(body, "not been read") {
		t.Errorf("before the first list: %d %s", code, body)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("health: %d", code)
	}
	if err := c.nodes.Replace(nil, ""); err != nil {
		t.Fatal(err)
	}
	if err := c.volumes.Replace(nil, ""); err != nil {
		t.Fatal(err)
	}
	if code, _ := get("/readyz"); code != 200 {
		t.Errorf("ready: %d", code)
	}
	_, body := get("/numbers")
	for _, line := range []string{
		`local_volume_node_cleanup_persistentvolume_delete_total{phase="Available"} 0`,
		`local_volume_node_cleanup_persistentvolume_delete_failed_total{phase="Released"} 0`,
		"local_volume_node_cleanup_persistentvolumeclaim_delete_total 0",
		"local_volume_node_cleanup_persistentvolumeclaim_delete_failed_total 0",
		"berth_leader 0", "berth_lost_nodes 0",
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
}
