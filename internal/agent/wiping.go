package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
	"github.com/berth-storage/berth/internal/wipe"
)

// A wipe that takes long is told of after firstTold, and then each time after
// twice as long, up to mostTold: ten events in the first four hours.
const (
	firstTold = 30 * time.Second
	mostTold  = time.Hour
)

// errStopped is why a wipe has ended that a person has stopped.
var errStopped = errors.New("its PV is not released with the reclaim policy Delete any more")

// wipings are the wipes that are under way.
type wipings struct {
	mu   sync.Mutex // guards byID
	byID map[volume.ID]*wiping
}

type wiping struct {
	class    string
	pv       volume.PVRef
	progress *wipe.Progress
	stop     context.CancelCauseFunc
}

// begin notes that a wipe is under way, until end is called. The context that
// it returns ends when the wipe is to be stopped.
func (w *wipings) begin(ctx context.Context, r volume.Record) (_ context.Context, p *wipe.Progress, end func()) {
	ctx, stop := context.WithCancelCause(ctx)
	p = new(wipe.Progress)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byID == nil {
		w.byID = map[volume.ID]*wiping{}
	}
	w.byID[r.ID] = &wiping{class: r.Class, pv: r.PV, progress: p, stop: stop}
	return ctx, p, func() {
		stop(nil)
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.byID, r.ID)
	}
}

// seen stops the volume's wipe if one of these PVs, as they are now, is the one
// that it was begun for and does not ask for it any more.
func (w *wipings) seen(id volume.ID, pvs []volume.PV) {
	w.mu.Lock()
	defer w.mu.Unlock()
	running := w.byID[id]
	if running == nil {
		return
	}
	for _, pv := range pvs {
		if pv.UID == running.pv.UID && !(pv.Released && pv.Delete) {
			running.stop(errStopped)
		}
	}
}

// all returns the wipes and their stands.
func (w *wipings) all() (out []wiping, stands []wipe.Stand) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, running := range w.byID {
		out = append(out, *running)
		stands = append(stands, running.progress.Now())
	}
	return out, stands
}

// tellProgress tells now and then how far a wipe has come, until ctx ends. What
// another program does tells nothing.
func (a *Agent) tellProgress(ctx context.Context, r volume.Record, p *wipe.Progress) {
	for wait := firstTold; ; wait = min(2*wait, mostTold) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		now, stand := time.Now(), p.Now()
		if stand.Phase == "" {
			continue
		}
		a.log.Info("wiping", "pv", r.PV.Name, "volume", r.ID, logged(r), "phase", stand.Phase, "bytes", stand.Done,
			"total", stand.Total, "entries", stand.Entries, "rate", int64(stand.Rate(now)), "left", stand.Left(now))
		about := aboutWiped(r)
		if about == nil {
			about = []corev1.ObjectReference{a.reports.node}
		}
		a.queueEvent(about, api.ReasonWipeProgress, fmt.Sprintf("wiping volume %s: %s", r.ID, stand.Text(now)))
	}
}

// logged says in the log what a volume lies on: its disk or, of a carved one, whose
// identity says only its name again, the pool.
func logged(r volume.Record) slog.Attr {
	if r.Carved != nil {
		return slog.String("pool", r.Carved.Pool)
	}
	return slog.String("disk", string(r.Identity))
}

// hangPatience is how long a wipe may come no further before its disk is said to
// hang: as long as the kernel waits before it says so of a task
// (kernel.hung_task_timeout_secs).
const hangPatience = 2 * time.Minute

// tellHang tells of a disk that does not answer in the middle of its wipe, and
// again when it does or the wipe has ended, until ctx ends. Other programs, and a
// device that formats itself, do not say how far they have come.
func (a *Agent) tellHang(ctx context.Context, r volume.Record, p *wipe.Progress) {
	subject := "wipe/" + string(r.ID)
	defer a.reports.clear(subject)
	for last := p.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(hangPatience):
		}
		now := p.Now()
		if now == last && now.Phase != "" {
			a.reports.set(subject, api.ReasonDiskHung, fmt.Sprintf(
				"the wipe of volume %s (%s, class %s, %q) has come no further for %s: its disk does not answer; the others are looked after", r.ID, r.Identity, r.Class, r.Entry, hangPatience),
				append(aboutWiped(r), a.reports.node)...)
		} else {
			a.reports.clear(subject)
		}
		last = now
	}
}

// stopped is what follows once a person has stopped a wipe. The volume is the
// last tenant's again, and is wiped from the start if it is released anew.
func (a *Agent) stopped(ctx context.Context, s *situation, r *volume.Record) (step, error) {
	if r.Job != "" {
		if err := a.stopJob(ctx, s, r); err != nil {
			return halt, err
		}
	}
	a.log.Info("wipe stopped", "pv", r.PV.Name, "volume", r.ID, logged(*r), "why", errStopped)
	a.queueEvent(aboutPV(r.PV), api.ReasonWipeStopped, fmt.Sprintf(
		"the wipe was stopped, as %v; a part of the data may be gone; with the policy Delete again it begins anew", errStopped))
	return goOn, nil
}

// aboutWiped names the PV that a wipe is for; one that a person asked for by name
// has none.
func aboutWiped(r volume.Record) []corev1.ObjectReference {
	if r.Asked != "" {
		return nil
	}
	return aboutPV(r.PV)
}

func aboutPV(pv volume.PVRef) []corev1.ObjectReference {
	return []corev1.ObjectReference{{APIVersion: "v1", Kind: "PersistentVolume", Name: pv.Name, UID: types.UID(pv.UID)}}
}
