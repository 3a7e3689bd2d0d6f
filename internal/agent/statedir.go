package agent

import (
	"context"
	"fmt"

	"github.com/berth-storage/berth/api"
)

// awaitStateDir asks where the journal is to be kept, which depends on the
// configuration: it waits for the first good one, and reports a bad one as a
// reload does. It returns false when ctx has ended.
func (a *Agent) awaitStateDir(ctx context.Context, o Options) (string, bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	due := make(chan struct{}, 1)
	a.watch(ctx, "configuration", o.Config.Watch, func() {
		select {
		case due <- struct{}{}:
		default:
		}
	})
	for {
		cfg, _, err := o.Config.Load()
		if err == nil {
			dir, warning := o.FindStateDir(cfg.Classes)
			if warning != "" {
				a.log.Warn(warning)
			}
			return dir, true
		}
		a.metrics.configValid.Set(0)
		a.reports.set(configSubject, api.ReasonConfigRefused, fmt.Sprintf("the configuration is refused%s: %v", stays(nil), err))
		select {
		case <-ctx.Done():
			return "", false
		case <-due:
		}
	}
}
