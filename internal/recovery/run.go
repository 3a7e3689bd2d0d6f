package recovery

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/client-go/rest"
)

// Run looks after the volumes of lost nodes, and does the job beside, until ctx
// ends, while it leads. It returns ErrLost when it does not lead any more, and an error for what no
// waiting could mend.
func Run(ctx context.Context, o Options) error {
	config := rest.CopyConfig(o.Kube)
	m := newMetrics()
	config.Wrap(m.count)
	api, err := newClient(config)
	if err != nil {
		return err
	}
	c := newController(o, api, kubeletAnswers, m)
	if o.Beside != nil {
		if c.beside, err = o.Beside(config, m.registry); err != nil {
			return err
		}
	}
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.Listen != "" {
		l, err := net.Listen("tcp", o.Listen)
		if err != nil {
			return fmt.Errorf("listening for metrics and health: %w", err)
		}
		running.Go(func() { c.serve(ctx, l) })
	}
	if len(o.Classes) > 0 {
		running.Go(func() { api.WatchVolumes(ctx, c.volumes) })
		running.Go(func() { api.WatchNodes(ctx, c.nodes) })
	}
	if c.beside != nil {
		running.Go(func() { c.beside.Watch(ctx) })
	}
	c.log.Info("controller started", "classes", o.Classes, "identity", o.Identity)
	if !c.waitSynced(ctx) {
		return nil
	}
	if !o.LeaderElect {
		c.leadAll(ctx)
		return nil
	}
	e := &election{api: api, namespace: o.Namespace, identity: o.Identity, log: o.Log,
		duration: o.LeaseDuration, deadline: o.RenewDeadline, retry: o.RetryPeriod}
	return e.run(ctx, c.leadAll)
}

// leadAll does both jobs until ctx ends.
func (c *controller) leadAll(ctx context.Context) {
	var leading sync.WaitGroup
	if c.beside != nil {
		leading.Go(func() { c.beside.Lead(ctx) })
	}
	c.lead(ctx)
	leading.Wait()
}

// waitSynced waits until all mirrors are filled; false when ctx ends before.
func (c *controller) waitSynced(ctx context.Context) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !c.Synced() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// handler answers metrics and health. None of it changes anything. A controller
// that stands by is ready too: it can take over.
func (c *controller) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(c.o.MetricsPath, promhttp.HandlerFor(c.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !c.Synced() {
			http.Error(w, "what is needed of the cluster has not been read yet: see the log", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}

func (c *controller) serve(ctx context.Context, l net.Listener) {
	server := &http.Server{Handler: c.handler(), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); err != nil && ctx.Err() == nil {
		c.log.Error("metrics and health are not served any more", "err", err)
	}
}
