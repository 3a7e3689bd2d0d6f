package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// serve answers metrics and health until ctx ends.
func (a *Agent) serve(ctx context.Context, l net.Listener, metricsPath string) {
	server := &http.Server{Handler: a.handler(metricsPath), ReadHeaderTimeout: 10 * time.Second}
	a.running.Go(func() {
		<-ctx.Done()
		server.Close()
	})
	if err := server.Serve(l); err != nil && ctx.Err() == nil {
		a.log.Error("metrics and health are not served any more", "err", err)
	}
}

// handler answers the path of the metrics, "" for /metrics, and /healthz,
// /readyz, and /ready, which is the established provisioner's. None of them
// changes anything.
func (a *Agent) handler(metricsPath string) http.Handler {
	if metricsPath == "" {
		metricsPath = "/metrics"
	}
	metricsPath = path.Clean("/" + metricsPath)
	metrics := promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
			fmt.Fprintln(w, "ok")
		case "/readyz", "/ready":
			if why := a.notReady(); why != "" {
				http.Error(w, why, http.StatusServiceUnavailable)
				return
			}
			fmt.Fprintln(w, "ok")
		case metricsPath:
			metrics.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}
