package agent

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/internal/config"
)

// edited is a configuration that is bad until it is edited.
type edited struct {
	good chan struct{}
}

func (e edited) String() string { return "edited" }

func (e edited) Load() (*config.Agent, []string, error) {
	select {
	case <-e.good:
		return &config.Agent{Classes: []config.Class{{Name: "fast"}}}, nil, nil
	default:
		return nil, nil, &config.Errors{Problems: []config.Problem{{File: "f", Line: 1, Message: "bad"}}}
	}
}

func (e edited) Watch(ctx context.Context, changed func()) error {
	changed()
	select {
	case <-e.good:
		changed()
	case <-ctx.Done():
	}
	<-ctx.Done()
	return nil
}

// TestAwaitStateDir: without a good configuration the agent says so, once, and
// waits; the first good one says where the journal is.
func TestAwaitStateDir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged strings.Builder
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		a := newAgent(ctx, testNode(), nil, nil, nil, slog.New(slog.NewTextHandler(&logged, nil)))
		a.reports.event = func([]corev1.ObjectReference, string, string) {}
		source := edited{good: make(chan struct{})}
		want := filepath.Join(t.TempDir(), "fast")
		got := make(chan string, 1)
		go func() {
			dir, _ := a.awaitStateDir(ctx, Options{Config: source, FindStateDir: func(classes []config.Class) (string, string) {
				return want, "of class " + classes[0].Name
			}})
			got <- dir
		}()
		synctest.Wait()
		if n := strings.Count(logged.String(), "the configuration is refused"); n != 1 || len(got) != 0 || a.notReady() == "" {
			t.Fatalf("with a bad configuration: refused %d times, %d answers, not ready: %q", n, len(got), a.notReady())
		}
		close(source.good)
		synctest.Wait()
		if dir := <-got; dir != want || !strings.Contains(logged.String(), "of class fast") {
			t.Errorf("got %q; the log is %s", dir, logged.String())
		}
		cancel()
		a.running.Wait()
	})
}
