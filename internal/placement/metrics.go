package placement

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	placed        *prometheus.CounterVec
	failed        prometheus.Counter
	duration      prometheus.Histogram
	eventsDropped prometheus.Counter
}

// outcomes are what the counter of placed claims calls the verbs.
var outcomes = map[verb]string{place: "scheduled", choose: "chosen", forget: "forgotten", takeBack: "taken_back", follow: "bound"}

func newMetrics(c *Controller, reg prometheus.Registerer) *metrics {
	m := &metrics{
		placed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "berth_placement_claims_total",
			Help: "Claims that got a node's label: scheduled by the scheduler, chosen here, or bound to a volume that is there; and that lost it: forgotten with the scheduler's choice, or taken_back from a node that is gone."}, []string{"outcome"}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "berth_placement_failed_total",
			Help: "Attempts to place a claim that failed; each is tried again."}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "berth_placement_duration_seconds",
			Help: "Time from when the watch has shown a claim to when its label was written.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 12)}),
		eventsDropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "berth_placement_events_dropped_total",
			Help: "Events about claims that could not be written."}),
	}
	for _, outcome := range outcomes { // a dashboard shows 0, not nothing, before the first
		m.placed.WithLabelValues(outcome)
	}
	reg.MustRegister(m.placed, m.failed, m.duration, m.eventsDropped,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "berth_placement_waiting",
			Help: "Claims that no node has room for."},
			func() float64 {
				c.mu.Lock()
				defer c.mu.Unlock()
				return float64(len(c.waiting))
			}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "berth_placement_queue_depth",
			Help: "Claims that wait to be looked at."},
			func() float64 { return float64(c.queue.Len()) }))
	return m
}

func (m *metrics) done(v verb, took time.Duration) {
	m.placed.WithLabelValues(outcomes[v]).Inc()
	if v == place || v == choose {
		m.duration.Observe(took.Seconds())
	}
}
