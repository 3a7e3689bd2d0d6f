package recovery

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	corev1 "k8s.io/api/core/v1"
)

// metrics are the established clean-up controller's, under its names, and
// Berth's own.
type metrics struct {
	registry      *prometheus.Registry
	pvs           *prometheus.CounterVec
	pvsFailed     *prometheus.CounterVec
	claims        prometheus.Counter
	claimsFailed  prometheus.Counter
	eventsDropped prometheus.Counter
	requests      *prometheus.CounterVec
}

func newMetrics() *metrics {
	const established = "local_volume_node_cleanup"
	m := &metrics{
		registry: prometheus.NewRegistry(),
		pvs: prometheus.NewCounterVec(prometheus.CounterOpts{Subsystem: established, Name: "persistentvolume_delete_total",
			Help: "PersistentVolumes of lost nodes deleted, by their phase."}, []string{"phase"}),
		pvsFailed: prometheus.NewCounterVec(prometheus.CounterOpts{Subsystem: established, Name: "persistentvolume_delete_failed_total",
			Help: "Failed attempts to delete a PersistentVolume of a lost node, by its phase."}, []string{"phase"}),
		claims: prometheus.NewCounter(prometheus.CounterOpts{Subsystem: established, Name: "persistentvolumeclaim_delete_total",
			Help: "Claims of lost nodes' volumes deleted."}),
		claimsFailed: prometheus.NewCounter(prometheus.CounterOpts{Subsystem: established, Name: "persistentvolumeclaim_delete_failed_total",
			Help: "Failed attempts to delete a claim of a lost node's volume."}),
		eventsDropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "berth_events_dropped_total",
			Help: "Kubernetes events that could not be written."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rest_client_requests_total",
			Help: "Requests to the API server, by method and status; <error> is no answer."}, []string{"method", "code", "host"}),
	}
	// A dashboard shows 0, not nothing, before the first.
	for _, phase := range []corev1.PersistentVolumePhase{corev1.VolumeAvailable, corev1.VolumeReleased} {
		m.pvs.WithLabelValues(string(phase))
		m.pvsFailed.WithLabelValues(string(phase))
	}
	m.registry.MustRegister(m.pvs, m.pvsFailed, m.claims, m.claimsFailed, m.eventsDropped, m.requests,
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	return m
}

// watch adds the metrics that are read off the controller when they are asked
// for.
func (m *metrics) watch(c *controller) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "berth_leader",
			Help: "1 on the controller that does the work, 0 on one that stands by."},
			func() float64 {
				if c.leading.Load() {
					return 1
				}
				return 0
			}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "berth_lost_nodes",
			Help: "Nodes that are gone and still have volumes of the listed classes; 0 on a controller that stands by."},
			func() float64 { return float64(c.lostNodes()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "berth_queue_depth",
			Help: "Volumes that wait to be looked at."},
			func() float64 { return float64(c.queue.Len()) }),
		troubles{c.reports},
	)
}

// lostNodes counts the owners of volumes that are gone.
func (c *controller) lostNodes() int {
	lost := map[string]bool{}
	for _, v := range c.volumes.All() {
		if v.Owner.Uncertain == "" && c.witness.Gone(v.Owner) {
			lost[v.Owner.key()] = true
		}
	}
	return len(lost)
}

// troubles exports how many volumes, or things that all of them need, have a
// trouble.
type troubles struct{ reports *reports }

var troublesDesc = prometheus.NewDesc("berth_troubles", "Volumes, and things that all of them need, with a trouble that was reported, by reason.", []string{"reason"}, nil)

// Describe is part of prometheus.Collector.
func (t troubles) Describe(ch chan<- *prometheus.Desc) { ch <- troublesDesc }

// Collect is part of prometheus.Collector.
func (t troubles) Collect(ch chan<- prometheus.Metric) {
	for reason, n := range t.reports.counts() {
		ch <- prometheus.MustNewConstMetric(troublesDesc, prometheus.GaugeValue, float64(n), reason)
	}
}

func (m *metrics) pvDeleted(v Volume, err error) {
	counter := m.pvs
	if err != nil {
		counter = m.pvsFailed
	}
	counter.WithLabelValues(string(v.Phase)).Inc()
}

func (m *metrics) claimDeleted(err error) {
	if err != nil {
		m.claimsFailed.Inc()
		return
	}
	m.claims.Inc()
}

// count counts the requests that go through a transport.
func (m *metrics) count(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		code := "<error>"
		if err == nil {
			code = strconv.Itoa(answer.StatusCode)
		}
		m.requests.WithLabelValues(r.Method, code, r.URL.Host).Inc()
		return answer, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip is part of http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
