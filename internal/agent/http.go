package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// serve answers /metrics, /healthz and /readyz until ctx ends. None of them
// changes anything.
func (a *Agent) serve(ctx context.Context, l net.Listener) {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := a.notReady(); why != "" {
			http.Error(w, why, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	a.running.Go(func() {
		<-ctx.Done()
		server.Close()
	})
	if err := server.Serve(l); err != nil && ctx.Err() == nil {
		a.log.Error("metrics and health are not served any more", "err", err)
	}
}

// notReady says what the agent still waits for, "" when it is at work. Trouble
// with single volumes does not count: the others are looked after.
func (a *Agent) notReady() string {
	switch {
	case a.config() == nil:
		return "no good configuration yet: see the log and the events of the node"
	case !a.store.Synced():
		return "the PersistentVolumes of this node have not been read yet"
	case !a.discovered.Load():
		return "the discovery directories have not been read yet"
	}
	return ""
}
