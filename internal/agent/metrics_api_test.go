package agent

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"github.com/berth-storage/berth/internal/publish"
)

type answers func(*http.Request) (*http.Response, error)

func (f answers) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// send counts one request that is answered with code, 0 for no answer.
func send(t *testing.T, m *apiMetrics, method, url string, code int) {
	t.Helper()
	trip := measured{m, answers(func(*http.Request) (*http.Response, error) {
		if code == 0 {
			return nil, errors.New("no route to host")
		}
		return &http.Response{StatusCode: code, Body: http.NoBody}, nil
	})}
	answer, err := trip.RoundTrip(httptest.NewRequest(method, url, nil))
	if (err != nil) != (code == 0) {
		t.Fatal(err)
	}
	if err == nil {
		answer.Body.Close()
	}
}

// gathered returns the samples of the counters, by name and label values.
func gathered(t *testing.T, m *apiMetrics) map[string]float64 {
	t.Helper()
	r := prometheus.NewRegistry()
	m.register(r)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, sample := range f.GetMetric() {
			var labels []string
			for _, l := range sample.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			value := sample.GetCounter().GetValue()
			if h := sample.GetHistogram(); h != nil {
				value = float64(h.GetSampleCount())
			}
			out[strings.TrimPrefix(f.GetName(), establishedPrefix)+" "+strings.Join(labels, " ")] = value
		}
	}
	return out
}

func TestAPIRequestsAreCounted(t *testing.T) {
	for _, c := range []struct {
		method, url string
		code        int
		want        string // code, resource and verb: labels are in alphabetical order
		established string
		failed      bool
	}{
		{"GET", "/api/v1/nodes/n", 200, "200 nodes GET", "", false},
		{"PUT", "/api/v1/nodes/n", 409, "409 nodes PUT", "", false},
		{"GET", "/api/v1/persistentvolumes?labelSelector=a", 200, "200 persistentvolumes LIST", "", false},
		{"GET", "/api/v1/persistentvolumes?watch=true&labelSelector=a", 200, "200 persistentvolumes WATCH", "", false},
		{"GET", "/apis/storage.k8s.io/v1/storageclasses?watch=1", 200, "200 storageclasses WATCH", "", false},
		{"POST", "/api/v1/persistentvolumes", 201, "201 persistentvolumes POST", "create", false},
		{"POST", "/api/v1/persistentvolumes", 409, "409 persistentvolumes POST", "create", true},
		{"DELETE", "/k8s/clusters/api-1/api/v1/persistentvolumes/pv", 200, "200 persistentvolumes DELETE", "delete", false},
		{"DELETE", "/api/v1/persistentvolumes/pv", 0, "error persistentvolumes DELETE", "delete", true},
		{"POST", "/api/v1/namespaces/ns/events", 403, "403 events POST", "", false},
		{"DELETE", "/apis/batch/v1/namespaces/ns/jobs/j", 200, "200 jobs DELETE", "", false},
		{"GET", "/readyz", 200, "200 other GET", "", false},
	} {
		m := newAPIMetrics()
		send(t, m, c.method, c.url, c.code)
		got := gathered(t, m)
		what := c.method + " " + c.url + ", answered " + strconv.Itoa(c.code)
		if got["berth_api_requests_total "+c.want] != 1 {
			t.Errorf("%s: counted as %v, want %s", what, got, c.want)
		}
		for _, method := range establishedMethods {
			total, failed := 0.0, 0.0
			if method == c.established {
				total = 1
				if c.failed {
					failed = 1
				}
			}
			if got["apiserver_requests_total "+method] != total || got["apiserver_requests_failed_total "+method] != failed ||
				got["apiserver_requests_duration_seconds "+method] != total {
				t.Errorf("%s: as %s it is counted in %v, want %v, failed %v", what, method, got, total, failed)
			}
		}
	}
}

// A client made of a measured configuration is counted.
func TestMeasuredClient(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.NotFound(w, nil) }))
	t.Cleanup(server.Close)
	m := newAPIMetrics()
	kube := &rest.Config{Host: server.URL}
	client, err := publish.NewClient(m.measure(kube), "node-1")
	if err != nil {
		t.Fatal(err)
	}
	if pv, err := client.Get(t.Context(), "pv1"); pv != nil || err != nil {
		t.Fatalf("got %v, %v", pv, err)
	}
	if got := gathered(t, m); got["berth_api_requests_total 404 persistentvolumes GET"] != 1 {
		t.Errorf("counted %v", got)
	}
	if kube.WrapTransport != nil {
		t.Error("the configuration that was given is changed")
	}
}
