package recovery

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
)

// job is another job, which tells where it is.
type job struct {
	synced  bool
	leading bool
}

func (j *job) Watch(context.Context) {}
func (j *job) Synced() bool          { return j.synced }
func (j *job) Lead(ctx context.Context) {
	j.leading = true
	<-ctx.Done()
	j.leading = false
}

// TestBeside: the other job is waited for, leads together with this one, and has
// ended when the lease is given up; with it alone no volume need be watched.
func TestBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := good()
		o.Classes = nil
		o.Log = slog.New(slog.NewTextHandler(lockedWriter{w}, nil))
		c := newController(o, w, nil, newMetrics())
		j := &job{}
		c.beside = j
		ready := func() int {
			answer := httptest.NewRecorder()
			c.handler().ServeHTTP(answer, httptest.NewRequest("GET", "/readyz", nil))
			return answer.Code
		}
		if c.Synced() || ready() != 503 {
			t.Error("ready before the job is")
		}
		if j.synced = true; !c.Synced() || ready() != 200 {
			t.Error("waits for volumes of no class")
		}
		c.o.Classes = []string{"fast"}
		if c.Synced() {
			t.Error("does not wait for the volumes of its classes")
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); c.leadAll(ctx) }()
		synctest.Wait()
		if !j.leading || !c.leading.Load() {
			t.Errorf("the job leads %v, this one %v", j.leading, c.leading.Load())
		}
		cancel()
		<-ended
		if j.leading {
			t.Error("the job goes on after the end")
		}
	})
}

// No class is enough where there is another job.
func TestNoClassBesideAJob(t *testing.T) {
	o := good()
	o.Classes = nil
	if err := o.Check(); err == nil || !strings.Contains(err.Error(), "--placement") {
		t.Errorf("%v, want an error that names --placement", err)
	}
	o.Beside = func(*rest.Config, prometheus.Registerer) (Job, error) { return nil, nil }
	if err := o.Check(); err != nil {
		t.Error(err)
	}
}
