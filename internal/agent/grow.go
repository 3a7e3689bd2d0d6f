package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// mayGrow reports whether claims of a class may ask for more than they have.
func (a *Agent) mayGrow(name string) bool {
	class, ok := a.classes.Get(name)
	return ok && class.AllowExpansion
}

// grow makes a volume as large as its claim asks, then its PV, and then tells the
// claim. Each may be there already, from a try that was stopped. What does not
// fit is told on the claim, which may then ask for less.
func (a *Agent) grow(ctx context.Context, id volume.ID, s *situation, r volume.Record) error {
	p, ok := a.carved.pools.Get(r.Carved.Pool)
	if !ok {
		return errPoolAway(r.Carved.Pool)
	}
	w := *s.in.Want
	resize := func(stage publish.Resize) (err error) {
		w, err = limited(ctx, a, func() (volume.Want, error) { return a.cluster.SetResize(ctx, w, stage) })
		return err
	}
	if err := resize(publish.Resize{Stage: publish.ResizeBegun, Bytes: s.in.GrowTo}); err != nil {
		return err
	}
	bytes := s.in.Disk.CapacityBytes
	if s.in.GrowTo > bytes {
		v, err := p.Grow(ctx, pool.ID(r.Entry), s.in.GrowTo)
		if errors.Is(err, pool.ErrNoRoom) {
			message := fmt.Sprintf("pool %s of node %s: %v; ask for less, or free space there", r.Carved.Pool, a.node.Name, err)
			if err := resize(publish.Resize{Stage: publish.ResizeRefused, Bytes: s.in.GrowTo, Message: message}); err != nil {
				return err
			}
			a.reports.set(volumeSubject(id), api.ReasonNoRoom, message, aboutClaim(w.Claim)...)
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errDisk, err)
		}
		a.carved.put(r.Carved.Pool, v)
		a.roomChanged(ctx, r.Carved.Pool)
		bytes = v.Bytes
		a.log.Info("grown", "volume", id, "pool", r.Carved.Pool, "bytes", bytes, "claim", w.Claim.String())
	}
	if s.in.PV.CapacityBytes < bytes {
		got, err := limited(ctx, a, func() (*pvObject, error) { return a.cluster.GrowPV(ctx, *s.in.PV, bytes) })
		if err != nil {
			return err
		}
		a.store.Put(got, false)
	}
	stage := publish.Resize{Stage: publish.ResizeDone, Bytes: bytes}
	if r.Carved.FSType != "" { // the kubelet has the filesystem on it grown
		stage.Stage = publish.ResizeOnNode
	}
	if err := resize(stage); err != nil {
		return err
	}
	a.reports.clear(volumeSubject(id))
	return nil
}
