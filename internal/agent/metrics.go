package agent

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/volume"
)

// metrics are the agent's, under berth_.
type metrics struct {
	registry      *prometheus.Registry
	configValid   prometheus.Gauge
	generation    prometheus.Gauge
	lastScan      prometheus.Gauge
	lastReconcile prometheus.Gauge
	eventsDropped prometheus.Counter
	publishes     *prometheus.CounterVec
	publishTime   prometheus.Histogram
	wipes         *prometheus.CounterVec
	wipeTime      *prometheus.HistogramVec
	wipeBytes     *prometheus.CounterVec
	volumes       *prometheus.GaugeVec
	established   *established

	mu     sync.Mutex // guards states
	states map[volume.ID][2]string
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		states:   map[volume.ID][2]string{},
		configValid: prometheus.NewGauge(prometheus.GaugeOpts{Name: "berth_config_valid",
			Help: "1 when the configuration file is the one in force, 0 when it was refused."}),
		generation: prometheus.NewGauge(prometheus.GaugeOpts{Name: "berth_config_generation",
			Help: "Configurations taken over since the agent started."}),
		lastScan: prometheus.NewGauge(prometheus.GaugeOpts{Name: "berth_last_scan_timestamp_seconds",
			Help: "When the discovery directories were last read, in Unix time; at least once in every rescan interval."}),
		lastReconcile: prometheus.NewGauge(prometheus.GaugeOpts{Name: "berth_last_reconcile_timestamp_seconds",
			Help: "When a volume was last brought as far as it should be, in Unix time."}),
		established: newEstablished(),
		eventsDropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "berth_events_dropped_total",
			Help: "Kubernetes events that could not be written."}),
		publishes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "berth_publish_total",
			Help: "PersistentVolumes created."}, []string{"class"}),
		publishTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "berth_publish_duration_seconds",
			Help: "Time to create a PersistentVolume.", Buckets: prometheus.ExponentialBuckets(.001, 2, 14)}),
		wipes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "berth_wipe_total",
			Help: "Wipes ended, by outcome."}, []string{"class", "outcome"}),
		wipeTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "berth_wipe_duration_seconds",
			Help: "Time to wipe and verify a volume.", Buckets: prometheus.ExponentialBuckets(.001, 4, 14)}, []string{"class", "method"}),
		wipeBytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "berth_wipe_bytes_total",
			Help: "Bytes of block devices erased."}, []string{"class"}),
		volumes: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "berth_volumes",
			Help: "Volumes in the journal, by class and state."}, []string{"class", "state"}),
	}
	m.registry.MustRegister(m.configValid, m.generation, m.lastScan, m.lastReconcile, m.eventsDropped, m.publishes, m.publishTime, m.wipes, m.wipeTime, m.wipeBytes, m.volumes,
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	m.established.register(m.registry)
	return m
}

// watch adds the metrics that are read off the agent when they are asked for.
func (m *metrics) watch(a *Agent) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "berth_queue_depth",
			Help: "Volumes that are being worked on or wait for a retry."},
			func() float64 { return float64(a.volumes.depth()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "berth_ready",
			Help: "1 when the agent is ready: see /readyz."},
			func() float64 {
				if a.notReady() == "" {
					return 1
				}
				return 0
			}),
		troubles{a.reports}, capacities{a}, goneVolumes{a}, poolRooms{a.pools, &sync.Map{}}, stands{&a.wipings},
	)
}

// troubles exports how many entries, classes and volumes have trouble.
type troubles struct{ reports *reports }

var troublesDesc = prometheus.NewDesc("berth_troubles", "Entries, classes and volumes with a trouble that was reported, by reason.", []string{"reason"}, nil)

// Describe is part of prometheus.Collector.
func (t troubles) Describe(ch chan<- *prometheus.Desc) { ch <- troublesDesc }

// Collect is part of prometheus.Collector.
func (t troubles) Collect(ch chan<- prometheus.Metric) {
	for reason, n := range t.reports.counts() {
		ch <- prometheus.MustNewConstMetric(troublesDesc, prometheus.GaugeValue, float64(n), reason)
	}
}

// state counts a volume under its new state, and returns the old one.
func (m *metrics) state(r volume.Record) (before volume.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.states[r.ID]; ok {
		before = volume.State(old[1])
		m.volumes.WithLabelValues(old[0], old[1]).Dec()
	}
	now := [2]string{r.Class, string(r.State)}
	m.states[r.ID] = now
	m.volumes.WithLabelValues(now[0], now[1]).Inc()
	return before
}

// forget ends the counting of a volume that is no more.
func (m *metrics) forget(r volume.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.states[r.ID]; ok {
		m.volumes.WithLabelValues(old[0], old[1]).Dec()
		delete(m.states, r.ID)
	}
}

// published counts a PV that was created in a time of took.
func (m *metrics) published(sl slot, took time.Duration) {
	m.established.discovered(sl, took)
	m.publishes.WithLabelValues(sl.class.Name).Inc()
	m.publishTime.Observe(took.Seconds())
}

// wiped counts a wipe that has ended.
func (m *metrics) wiped(id volume.ID, c config.Class, r wipeResult, took time.Duration, err error) {
	if r.Method != methodRemove {
		m.established.ends(id, err)
	}
	if err != nil {
		m.wipes.WithLabelValues(c.Name, "failed").Inc()
		return
	}
	outcome := "verified"
	if r.Method == methodCommand || r.Method == methodJob {
		outcome = "reported" // by another program
	}
	m.wipes.WithLabelValues(c.Name, outcome).Inc()
	m.wipeTime.WithLabelValues(c.Name, r.Method).Observe(took.Seconds())
	m.wipeBytes.WithLabelValues(c.Name).Add(float64(r.Bytes))
}
