package agent

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
)

const taintSubject = "taint"

// readyPause is how long to wait between two looks at whether the agent has
// become ready: at a start with many volumes each of them may bring it about.
const readyPause = 100 * time.Millisecond

// taintRetry is the longest wait before a taint that could not be removed is
// tried again.
const taintRetry = time.Minute

// keepUntainted takes the start-up taint off the node once the agent is ready,
// until ctx ends. It does so once for each configuration that it finds in
// force: a taint that somebody sets later has a reason that the agent does not
// know.
func (a *Agent) keepUntainted(ctx context.Context) {
	var done *config.Agent
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.progressed:
		}
		if cfg := a.config(); cfg != done && a.notReady() == "" && a.untaint(ctx, cfg) {
			done = cfg
		}
		if pause(ctx, readyPause) != nil {
			return
		}
	}
}

// untaint takes the taint that cfg names off the node. It tries until it has
// done so, and returns false if cfg is not in force any more before.
func (a *Agent) untaint(ctx context.Context, cfg *config.Agent) bool {
	for n := 0; a.config() == cfg; n++ {
		if cfg.StartupTaint == "" {
			a.reports.clear(taintSubject)
			return true
		}
		removed, err := limited(ctx, a, func() (bool, error) { return a.cluster.RemoveTaint(ctx, cfg.StartupTaint) })
		if err == nil {
			a.reports.clear(taintSubject)
			if removed {
				a.log.Info("start-up taint removed", "node", a.node.Name, "taint", cfg.StartupTaint)
			}
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		// Nodes change all the time, so a conflict is no trouble unless it stays.
		if !apierrors.IsConflict(err) || n > 10 {
			a.reports.set(taintSubject, api.ReasonTaintNotRemoved,
				fmt.Sprintf("the start-up taint %s could not be removed from the node, trying again: %v", cfg.StartupTaint, err))
		}
		if pause(ctx, min(firstRetry<<min(n, 20), taintRetry)) != nil {
			return false
		}
	}
	a.progress() // for the configuration that has come instead
	return false
}

// pause waits, and returns an error if ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
