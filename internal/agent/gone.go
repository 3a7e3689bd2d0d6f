package agent

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

// A disk that goes while a claim has its volume, and its coming back, is told to
// the PV, the claim and the pods that use it; a PV's annotation says what is
// wrong as long as it is. The annotation is written after the events: it is the
// record that they were written, also for the next start of the agent. A volume
// that is well costs no request.

// tellState brings the PV's annotation to what was last reported of a volume,
// and tells of a disk that has gone or is back. It returns when to look at the
// volume again, which is retry unless something could not be told.
func (a *Agent) tellState(ctx context.Context, id volume.ID, s *situation, retry time.Duration) time.Duration {
	trouble, _ := a.reports.about(volumeSubject(id))
	if s.in.Disk != nil && trouble.reason == api.ReasonDiskGone { // nothing else has been said since
		a.reports.clear(volumeSubject(id))
		trouble = report{}
	}
	if trouble.reason == "" && s.in.Disk == nil && !s.in.Looked {
		return retry // nothing can be said of it now
	}
	a.states.setGone(id, classOf(s), trouble.reason == api.ReasonDiskGone)
	if s.in.PV == nil {
		a.states.set(id, "")
		return retry
	}
	err := a.tell(ctx, id, *s.in.PV, s.in.Disk, trouble)
	if ctx.Err() != nil {
		return retry
	}
	if a.states.fails(id, err != nil) {
		a.log.Warn("what is wrong with a volume, or is not any more, could not be told; trying again", "pv", s.in.PV.Name, "volume", id, "err", err)
	}
	if err != nil && retry == 0 { // else a wipe that fails would be tried as often
		return apiRetry
	}
	return retry
}

// wasGone reports whether the last that was said of a volume is that its disk
// is gone.
func (a *Agent) wasGone(id volume.ID, s *situation) bool {
	trouble, _ := a.reports.about(volumeSubject(id))
	return trouble.reason == api.ReasonDiskGone || s.in.PV != nil && a.states.last(id, *s.in.PV) == api.ReasonDiskGone
}

// tell tells of one volume what has changed since it was last told.
func (a *Agent) tell(ctx context.Context, id volume.ID, pv volume.PV, disk *volume.Disk, trouble report) error {
	now, before := "", a.states.last(id, pv)
	switch trouble.reason {
	case api.ReasonDiskGone, api.ReasonQuarantined, api.ReasonWipeFailed:
		now = trouble.reason
	}
	if now == before {
		return nil
	}
	var err error
	switch {
	case now == api.ReasonDiskGone:
		err = a.tellAll(ctx, pv, now, trouble.message)
	case before == api.ReasonDiskGone && disk != nil:
		a.log.Info("the disk is back", "pv", pv.Name, "volume", id, "disk", disk.Identity, "path", disk.Path)
		err = a.tellAll(ctx, pv, api.ReasonDiskBack, fmt.Sprintf("the disk %s of PV %s is back at %q", disk.Identity, pv.Name, disk.Path))
	}
	if err == nil && a.states.mayAnnotate.Load() {
		err = a.annotate(ctx, pv, now, trouble.message)
	}
	if err == nil {
		a.states.set(id, now)
	}
	return err
}

// annotate writes a PV's state onto it. A PV that is gone is no error.
func (a *Agent) annotate(ctx context.Context, pv volume.PV, state, reason string) error {
	got, err := limited(ctx, a, func() (*pvObject, error) { return a.cluster.SetState(ctx, pv, state, reason) })
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsForbidden(err):
		if a.states.mayAnnotate.Swap(false) {
			a.log.Warn("this account may not annotate PersistentVolumes, so they do not say what is wrong with them; events, log and metrics do", "annotation", api.AnnState, "err", err)
		}
		return nil
	case err != nil:
		return err
	}
	a.store.Put(got, !a.node.Labelled(got))
	return nil
}

// tellAll writes an event for a PV, the claim that has it and the pods that use
// that. Written again after an error, one that exists is not doubled. What the
// API server refuses for good is given up.
func (a *Agent) tellAll(ctx context.Context, pv volume.PV, reason, message string) error {
	about := aboutVolume(&pv)
	if pv.Claim != nil && !pv.Released && a.states.mayList.Load() {
		pods, err := limited(ctx, a, func() ([]corev1.ObjectReference, error) { return a.cluster.PodsOf(ctx, *pv.Claim) })
		switch {
		case apierrors.IsForbidden(err):
			if a.states.mayList.Swap(false) {
				a.log.Warn("this account may not list pods, so they are not told when the disk of their volume goes; the PersistentVolume and the claim are", "err", err)
			}
		case err != nil:
			return err
		}
		about = append(about, pods...)
	}
	for _, o := range about {
		e := a.kubeEvent(event{o, reason, message})
		if a.states.mayAnnotate.Load() { // so the PV's version changes from one telling to the next
			sum := sha256.Sum256(fmt.Append(nil, pv.UID, "\x00", pv.ResourceVersion, "\x00", reason, "\x00", o.UID))
			e.Name = fmt.Sprintf("%s.%x", o.Name, sum[:8])
		}
		_, err := limited(ctx, a, func() (struct{}, error) { return struct{}{}, a.cluster.Event(ctx, e) })
		switch {
		case err == nil, apierrors.IsAlreadyExists(err):
		case apierrors.IsForbidden(err), apierrors.IsNotFound(err), apierrors.IsInvalid(err):
			a.metrics.eventsDropped.Inc()
			a.log.Warn("an event could not be written", "err", err, "reason", reason)
		default:
			return err
		}
	}
	return nil
}

// aboutVolume names a PV and the claim that has it.
func aboutVolume(pv *volume.PV) (about []corev1.ObjectReference) {
	if pv == nil {
		return nil
	}
	about = append(about, corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolume", Name: pv.Name, UID: types.UID(pv.UID)})
	if c := pv.Claim; c != nil && !pv.Released {
		about = append(about, corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: c.Namespace, Name: c.Name, UID: types.UID(c.UID)})
	}
	return about
}

func classOf(s *situation) string {
	switch {
	case s.in.PV != nil:
		return s.in.PV.Class
	case s.in.Record != nil:
		return s.in.Record.Class
	}
	return s.slot.class.Name
}
