package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
)

// PersistentVolumes that the established provisioner made have no label, so the
// watch does not show them, and no identity, so they are no known disk's. The
// first is mended here, once a start; the second by identify, when the disk at
// their place has been looked at.

// old follows the PVs from before Berth.
type old struct {
	due      chan struct{} // there may be some that are not known yet
	done     chan struct{} // closed after the first pass
	mayLabel bool          // false once the API server has forbidden it; used by followOld alone
}

func newOld() *old {
	return &old{due: make(chan struct{}, 1), done: make(chan struct{}), mayLabel: true}
}

func (o *old) kick() {
	select {
	case o.due <- struct{}{}:
	default:
	}
}

// followOld takes the PVs from before Berth over, and again when there may be
// more, until ctx ends.
func (a *Agent) followOld(ctx context.Context, watch func(context.Context)) {
	var first sync.Once
	defer first.Do(func() { close(a.old.done) })
	a.old.kick()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.old.due:
		}
		for {
			err := a.takeOver(ctx, func() { first.Do(func() { close(a.old.done) }) })
			if err == nil || ctx.Err() != nil {
				break
			}
			a.log.Warn("looking for PVs of the established provisioner failed, trying again", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(apiRetry):
			}
		}
		if !a.old.mayLabel && len(a.store.OldPVs()) > 0 && ctx.Err() == nil {
			a.log.Warn("this account may not label PersistentVolumes, so those of the established provisioner are followed by a watch of all nodes' until the last one is replaced; the right to patch persistentvolumes ends that",
				"pvs", len(a.store.OldPVs()))
			watch(ctx)
		}
	}
}

// takeOver finds this node's PVs that have no label, calls listed when the store
// has them, and labels them where that is allowed. Until one is labelled no
// watch shows what becomes of it, but its labelling does.
func (a *Agent) takeOver(ctx context.Context, listed func()) error {
	var found []*corev1.PersistentVolume
	strangers := map[string]stranger{}
	_, err := limited(ctx, a, func() (struct{}, error) {
		return struct{}{}, a.cluster.Unlabelled(ctx, func(pv *corev1.PersistentVolume) {
			switch {
			case a.node.Adoptable(pv):
				found = append(found, pv.DeepCopy())
			case a.node.Elsewhere(pv):
				strangers[pv.Name] = stranger{uid: pv.UID, class: pv.Spec.StorageClassName, path: pv.Spec.Local.Path}
			}
		})
	})
	if err != nil {
		return err
	}
	if a.strangers.set(strangers); len(strangers) > 0 {
		a.trigger(true) // which reports them
	}
	found = slices.DeleteFunc(found, a.foreign)
	for _, pv := range found {
		a.store.Put(pv, true)
	}
	listed()
	if err := a.recheckOld(ctx, found); err != nil {
		return err
	}
	if a.old.mayLabel && len(found) > 0 {
		if err := a.labelAll(ctx, found); !apierrors.IsForbidden(err) {
			return err
		}
		a.old.mayLabel = false
	}
	return nil
}

// recheckOld asks for the PVs that an earlier pass has found and this one has
// not: they are gone, or a label was put on that nobody has told of.
func (a *Agent) recheckOld(ctx context.Context, found []*corev1.PersistentVolume) error {
	for _, pv := range a.store.OldPVs() {
		if slices.ContainsFunc(found, func(f *corev1.PersistentVolume) bool { return string(f.UID) == pv.UID }) {
			continue
		}
		now, err := limited(ctx, a, func() (*pvObject, error) { return a.cluster.Get(ctx, pv.Name) })
		switch {
		case err != nil:
			return err
		case now == nil || string(now.UID) != pv.UID:
			a.store.Missing(pv)
		default:
			a.store.Put(now, !a.node.Labelled(now))
		}
	}
	return nil
}

// labelAll labels PVs side by side, after the first has shown that it is allowed.
func (a *Agent) labelAll(ctx context.Context, pvs []*corev1.PersistentVolume) error {
	if err := a.label(ctx, pvs[0]); err != nil {
		return err
	}
	errs := make([]error, len(pvs))
	var labelling sync.WaitGroup
	for i, pv := range pvs[1:] {
		labelling.Go(func() { errs[i] = a.label(ctx, pv) })
	}
	labelling.Wait()
	return errors.Join(errs...)
}

// label labels one PV. One that has gone or was replaced meanwhile is no error.
func (a *Agent) label(ctx context.Context, pv *corev1.PersistentVolume) error {
	v, _ := publish.View(pv)
	got, err := limited(ctx, a, func() (*pvObject, error) { return a.cluster.Label(ctx, v) })
	switch {
	case apierrors.IsNotFound(err):
		a.store.Missing(v)
		return nil
	case apierrors.IsConflict(err): // another PV of that name, or others were faster, again and again
		now, err2 := limited(ctx, a, func() (*pvObject, error) { return a.cluster.Get(ctx, pv.Name) })
		if err2 != nil || now != nil && now.UID == pv.UID {
			return errors.Join(err, err2)
		}
		a.store.Missing(v)
		return nil
	case err != nil:
		return err
	}
	a.log.Info("took over", "pv", pv.Name, "path", v.Path, "class", v.Class)
	a.store.Put(got, false)
	return nil
}

// foreign reports whether a PV that carries this node's label or name is not
// this node's, and tells the operator so.
func (a *Agent) foreign(pv *corev1.PersistentVolume) bool {
	why := a.node.Misfit(pv)
	if why == "" {
		a.reports.clear(misfitSubject(pv.Name))
		return false
	}
	a.reportAs(misfitSubject(pv.Name), pv.Name, pv.UID, why)
	return true
}

func (a *Agent) reportForeign(name string, uid types.UID, why string) {
	a.reportAs(foreignSubject(name), name, uid, why)
}

func (a *Agent) reportAs(subject, name string, uid types.UID, why string) {
	a.reports.set(subject, api.ReasonForeignVolume,
		fmt.Sprintf("PV %s is left alone: %s; mend it, or delete it if nobody needs it", name, why),
		corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolume", Name: name, UID: uid})
}

// A PV can be foreign by what it says of itself, which each of its forms is
// looked at for, and by what else there is. One must not take back the other.
func misfitSubject(pv string) string  { return "misfit/" + pv }
func foreignSubject(pv string) string { return "pv/" + pv }
