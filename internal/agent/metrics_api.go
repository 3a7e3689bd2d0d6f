package agent

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
)

// apiMetrics count the requests to the API server where they leave the
// process, so each try of a request is one.
type apiMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	total    *prometheus.CounterVec // this and the rest: the established ones, of PersistentVolumes
	failed   *prometheus.CounterVec
	time     *prometheus.HistogramVec
}

// establishedMethods are the requests about PersistentVolumes that the
// established provisioner counts, and what it calls them.
var establishedMethods = map[string]string{http.MethodPost: "create", http.MethodDelete: "delete"}

func newAPIMetrics() *apiMetrics {
	m := &apiMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "berth_api_requests_total",
			Help: "Requests to the API server, by status code; \"error\" where it did not answer. A watch is one request."}, []string{"verb", "resource", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "berth_api_request_duration_seconds",
			Help: "Time until the API server answered; of a watch, until it began.", Buckets: []float64{.002, .01, .05, .2, 1, 5, 15}}, []string{"verb", "resource"}),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{Name: establishedPrefix + "apiserver_requests_total",
			Help: "Requests to create or delete a PersistentVolume."}, []string{"method"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: establishedPrefix + "apiserver_requests_failed_total",
			Help: "Requests to create or delete a PersistentVolume that were refused or not answered."}, []string{"method"}),
		time: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: establishedPrefix + "apiserver_requests_duration_seconds",
			Help: "Time until a request to create or delete a PersistentVolume was answered.", Buckets: establishedBuckets()}, []string{"method"}),
	}
	for _, method := range establishedMethods {
		m.total.WithLabelValues(method)
		m.failed.WithLabelValues(method)
		m.time.WithLabelValues(method)
	}
	return m
}

func (m *apiMetrics) register(r prometheus.Registerer) {
	r.MustRegister(m.requests, m.duration, m.total, m.failed, m.time)
}

// measure returns a copy of the configuration whose clients are counted.
func (m *apiMetrics) measure(c *rest.Config) *rest.Config {
	out := rest.CopyConfig(c)
	out.Wrap(func(next http.RoundTripper) http.RoundTripper { return measured{m, next} })
	return out
}

type measured struct {
	*apiMetrics
	next http.RoundTripper
}

// WrappedRoundTripper lets client-go find the transport beneath.
func (r measured) WrappedRoundTripper() http.RoundTripper { return r.next }

// RoundTrip is part of http.RoundTripper.
func (r measured) RoundTrip(request *http.Request) (*http.Response, error) {
	began := time.Now()
	answer, err := r.next.RoundTrip(request)
	took := time.Since(began).Seconds()

	code, bad := "error", true
	if err == nil {
		code, bad = strconv.Itoa(answer.StatusCode), answer.StatusCode >= 400
	}
	verb, resource := requestKind(request)
	r.requests.WithLabelValues(verb, resource, code).Inc()
	r.duration.WithLabelValues(verb, resource).Observe(took)
	if method, ok := establishedMethods[verb]; ok && resource == "persistentvolumes" {
		r.total.WithLabelValues(method).Inc()
		r.time.WithLabelValues(method).Observe(took)
		if bad {
			r.failed.WithLabelValues(method).Inc()
		}
	}
	return answer, err
}

// requestKind says what a request is about, in the words that the API server's
// own metrics use.
func requestKind(r *http.Request) (verb, resource string) {
	// /api/v1/… or /apis/group/v1/…, then namespaces/name/ where it is in one,
	// resource, name; before it what a proxy wants.
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	for len(parts) > 0 && parts[0] != "api" && parts[0] != "apis" {
		parts = parts[1:]
	}
	skip := 2
	if len(parts) > 0 && parts[0] == "apis" {
		skip = 3
	}
	if len(parts) > skip+2 && parts[skip] == "namespaces" {
		skip += 2
	}
	if len(parts) <= skip {
		return r.Method, "other"
	}
	verb = r.Method
	if watch := r.URL.Query().Get("watch"); verb == http.MethodGet && (watch == "true" || watch == "1") {
		verb = "WATCH"
	} else if verb == http.MethodGet && len(parts) == skip+1 {
		verb = "LIST"
	}
	return verb, parts[skip]
}
