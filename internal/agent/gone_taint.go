package agent

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/volume"
)

const goneTaintSubject = "taint/" + api.TaintDiskGone

// keepGoneTaint keeps the taint api.TaintDiskGone on the node as long as the
// disk of a claimed volume is gone whose class asks for it, until ctx ends. It
// rests on what the PVs' annotations say, so it is the same after a restart. A
// taint that a person takes off is not put on again for the same disk.
func (a *Agent) keepGoneTaint(ctx context.Context) {
	has, failed := a.node.Tainted, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.taintDue:
		}
		wait := readyPause // many volumes may change together
		if want, known := a.wantsGoneTaint(); known && want != has {
			err := a.setGoneTaint(ctx, want)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				// Nodes change all the time, so a conflict is no trouble unless it stays.
				if !apierrors.IsConflict(err) || failed > 10 {
					a.reportGoneTaint(want, err)
				}
				wait = min(firstRetry<<min(failed, 20), taintRetry)
				failed++
				a.taintIsDue()
			} else {
				has, failed = want, 0
				a.reports.clear(goneTaintSubject)
			}
		} else if known && failed > 0 { // what failed is not wanted any more
			failed = 0
			a.reports.clear(goneTaintSubject)
		}
		if pause(ctx, wait) != nil {
			return
		}
	}
}

// taintIsDue says that the node's taint may have to change. It never waits.
func (a *Agent) taintIsDue() {
	select {
	case a.taintDue <- struct{}{}:
	default:
	}
}

// wantsGoneTaint reports whether the node is to have the taint. known is false
// while that cannot be said.
func (a *Agent) wantsGoneTaint() (want, known bool) {
	cfg := a.config()
	if cfg == nil || !a.store.Synced() {
		return false, false
	}
	asks := map[string]bool{}
	for _, c := range cfg.Classes {
		if c.WhenGone == config.TaintNode {
			asks[c.Name] = true
		}
	}
	if len(asks) == 0 {
		return false, true
	}
	return a.store.Any(func(pv volume.PV) bool {
		return asks[pv.Class] && pv.Claim != nil && !pv.Released && pv.State == api.ReasonDiskGone
	}), true
}

func (a *Agent) setGoneTaint(ctx context.Context, want bool) error {
	changed, err := limited(ctx, a, func() (bool, error) {
		if want {
			return a.cluster.AddTaint(ctx, api.TaintDiskGone, corev1.TaintEffectNoSchedule)
		}
		return a.cluster.RemoveTaint(ctx, api.TaintDiskGone)
	})
	switch {
	case err != nil || !changed:
	case want:
		a.log.Warn("the disk of a claimed volume is gone; the node was given a taint", "node", a.node.Name, "taint", api.TaintDiskGone)
	default:
		a.log.Info("no disk is gone any more whose class asks for a taint; it was taken off the node", "node", a.node.Name, "taint", api.TaintDiskGone)
	}
	return err
}

func (a *Agent) reportGoneTaint(want bool, err error) {
	if want {
		a.reports.set(goneTaintSubject, api.ReasonTaintNotSet,
			fmt.Sprintf("the taint %s could not be put on the node, trying again: %v", api.TaintDiskGone, err))
		return
	}
	a.reports.set(goneTaintSubject, api.ReasonTaintNotRemoved,
		fmt.Sprintf("the taint %s could not be removed from the node, trying again; kubectl taint node %s %[1]s- removes it, too: %[3]v", api.TaintDiskGone, a.node.Name, err))
}
