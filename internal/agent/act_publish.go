package agent

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// publish creates a volume's PV.
func (a *Agent) publish(ctx context.Context, s *situation, r volume.Record) (step, error) {
	if r.PV.Name == "" {
		r.PV.Name = a.pvName(r)
	}
	if r.Carved != nil {
		return a.publishCarved(ctx, s, r)
	}
	class, err := a.classFor(s.slot.class.Name)
	if err != nil {
		return halt, err
	}
	got, took, err := a.create(ctx, publish.PersistentVolume(a.spec(s, r, class), a.node))
	if err != nil {
		return halt, err
	}
	if took > 0 {
		a.metrics.published(s.slot, took)
		a.log.Info("published", "pv", got.Name, "volume", r.ID, "disk", r.Identity, "path", s.in.Disk.Path)
		a.store.Put(got, false)
		return goOn, nil
	}
	if v, ok := publish.View(got); ok && a.node.Misfit(got) == "" && v.Path == s.in.Disk.Path && (v.Identity == r.Identity || v.Identity == "") {
		old := !a.node.Labelled(got)
		a.store.Put(got, old)
		if old {
			a.old.kick()
		}
		return goOn, nil
	}
	return a.nameTaken(s, r, got)
}

// create creates a PV, and returns how long that took; 0 with the one that has the
// name already.
func (a *Agent) create(ctx context.Context, pv *pvObject) (got *pvObject, took time.Duration, err error) {
	started := time.Now()
	var created bool
	got, err = limited(ctx, a, func() (got *pvObject, err error) {
		got, created, err = a.cluster.Create(ctx, pv)
		return got, err
	})
	if created {
		took = max(time.Since(started), 1) // a clock may be too coarse to tell
	}
	return got, took, err
}

// classFor returns the StorageClass that volumes are published under.
func (a *Agent) classFor(name string) (publish.Class, error) {
	class, ok := a.classes.Get(name)
	if !ok {
		return class, fmt.Errorf("there is no StorageClass %s", name)
	}
	if p := class.Reclaim; p != corev1.PersistentVolumeReclaimDelete && p != corev1.PersistentVolumeReclaimRetain {
		return class, fmt.Errorf("StorageClass %s has the reclaim policy %s; allowed: Delete, Retain", name, p)
	}
	return class, nil
}

// nameTaken handles a PV name that another volume has.
func (a *Agent) nameTaken(s *situation, r volume.Record, other *pvObject) (step, error) {
	long := publish.LongName(r.Entry, a.node.Name, r.Class)
	if local := other.Spec.Local; local != nil && local.Path == s.in.Disk.Path && a.node.Misfit(other) == "" {
		return halt, nil // the last disk at this place; its PV's end kicks this volume
	}
	if r.PV.Name == long {
		return halt, fmt.Errorf("both PV names for %s are taken by others; delete PV %s if it is not needed", s.in.Disk.Path, other.Name)
	}
	r.PV.Name = long
	return goOn, a.keep(r)
}

func (a *Agent) spec(s *situation, r volume.Record, class publish.Class) publish.Spec {
	c, cfg := s.slot.class, a.config()
	return publish.Spec{
		Name: r.PV.Name, Class: c.Name, Path: s.in.Disk.Path, Identity: r.Identity, CapacityBytes: s.in.Disk.CapacityBytes,
		Block: c.VolumeMode == config.Block, AccessMode: string(c.AccessMode), FSType: c.FSType, ReadOnly: c.ReadOnly,
		Reclaim: class.Reclaim, MountOptions: class.MountOptions, NodeLabels: cfg.NodeLabels, Labels: cfg.Labels,
		Selector: selector(c.Selector), Owned: cfg.OwnerReference, NodeNameOnly: cfg.NodeNameOnly, Unheld: a.standIn, For: returningTo(r),
	}
}

func selector(terms []config.SelectorTerm) (out []corev1.NodeSelectorTerm) {
	requirements := func(in []config.Requirement) (out []corev1.NodeSelectorRequirement) {
		for _, r := range in {
			out = append(out, corev1.NodeSelectorRequirement{Key: r.Key, Operator: corev1.NodeSelectorOperator(r.Operator), Values: r.Values})
		}
		return out
	}
	for _, t := range terms {
		out = append(out, corev1.NodeSelectorTerm{MatchExpressions: requirements(t.MatchExpressions), MatchFields: requirements(t.MatchFields)})
	}
	return out
}
