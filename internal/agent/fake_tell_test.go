package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

// telling is the part of the world by which people learn of a volume.
type telling struct {
	names   map[string]bool     // of all events so far
	types   map[string]string   // by reason, the type of the last event
	pods    map[string][]string // by claim, the pods that use it
	noPods  bool                // the agent may not list pods
	noState error               // why PVs cannot be annotated
	noEvent error               // why events cannot be written
}

func (p fakeAPI) Event(_ context.Context, e *corev1.Event) error {
	return p.request("event", func() error {
		t := &p.w.telling
		if t.noEvent != nil {
			return t.noEvent
		}
		if t.names[e.Name] {
			return apierrors.NewAlreadyExists(corev1.Resource("events"), e.Name)
		}
		if t.names == nil {
			t.names, t.types = map[string]bool{}, map[string]string{}
		}
		t.names[e.Name], t.types[e.Reason] = true, e.Type
		p.w.events = append(p.w.events, e.InvolvedObject.Kind+" "+e.Reason)
		return nil
	})
}

func (p fakeAPI) PodsOf(_ context.Context, claim volume.Claim) (out []corev1.ObjectReference, err error) {
	err = p.request("list pods", func() error {
		if p.w.telling.noPods {
			return apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("no list"))
		}
		for _, name := range p.w.telling.pods[claim.Name] {
			out = append(out, corev1.ObjectReference{Kind: "Pod", Namespace: claim.Namespace, Name: name, UID: types.UID(name)})
		}
		return nil
	})
	return out, err
}

func (p fakeAPI) SetState(_ context.Context, seen volume.PV, state, reason string) (out *corev1.PersistentVolume, err error) {
	err = p.request(fmt.Sprintf("state %q", state), func() error {
		pv := p.w.pvs[seen.Name]
		switch {
		case p.w.noLabel:
			return apierrors.NewForbidden(corev1.Resource("persistentvolumes"), seen.Name, errors.New("no patch"))
		case p.w.telling.noState != nil:
			return p.w.telling.noState
		case pv == nil:
			return apierrors.NewNotFound(corev1.Resource("persistentvolumes"), seen.Name)
		case string(pv.UID) != seen.UID:
			return apierrors.NewConflict(corev1.Resource("persistentvolumes"), seen.Name, errors.New("another"))
		}
		n := pv.DeepCopy()
		if delete(n.Annotations, api.AnnState); state != "" {
			metav1.SetMetaDataAnnotation(&n.ObjectMeta, api.AnnState, state)
		}
		if delete(n.Annotations, api.AnnReason); state != "" {
			metav1.SetMetaDataAnnotation(&n.ObjectMeta, api.AnnReason, reason)
		}
		p.w.store(n)
		out = n.DeepCopy()
		return nil
	})
	return out, err
}

func (p fakeAPI) RemoveTaint(_ context.Context, key string) (removed bool, err error) {
	err = p.request("remove taint", func() error {
		left := slices.DeleteFunc(slices.Clone(p.w.taints), func(k string) bool { return k == key })
		if removed = len(left) < len(p.w.taints); removed && p.w.noTaint != nil {
			return p.w.noTaint
		}
		p.w.taints = left
		return nil
	})
	return removed && err == nil, err
}

func (p fakeAPI) AddTaint(_ context.Context, key string, _ corev1.TaintEffect) (added bool, err error) {
	err = p.request("add taint", func() error {
		if added = !slices.Contains(p.w.taints, key); added && p.w.noTaint != nil {
			return p.w.noTaint
		}
		if added {
			p.w.taints = append(p.w.taints, key)
		}
		return nil
	})
	return added && err == nil, err
}
