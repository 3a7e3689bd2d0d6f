package recovery

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/berth-storage/berth/api"
)

// Subjects of troubles that all volumes have.
const (
	leasesSubject = "leases of nodes"
	patchSubject  = "patching PVs"
)

// Rules of a role that the controller may lack, as messages name them.
const (
	ruleNodeLeases = `{apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get"]} in namespace ` + leaseNamespace
	rulePatchPVs   = `{apiGroups: [""], resources: ["persistentvolumes"], verbs: ["patch"]}`
	ruleLease      = `{apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get", "create", "update"]} in namespace `
)

// do does what was decided about a volume.
func (c *controller) do(ctx context.Context, v Volume, d Decision) error {
	switch d.Verb {
	case Note:
		return c.note(ctx, v)
	case Forget:
		return c.forget(ctx, v, d)
	case DeleteClaim:
		return c.deleteClaim(ctx, v)
	case DeletePV:
		err := c.cluster.DeletePV(ctx, v)
		c.metrics.pvDeleted(v, err)
		if err == nil {
			c.log.Info("PV of a lost node deleted", "pv", v.Name, "node", v.Owner.String(), "phase", v.Phase)
		}
		return err
	case LetGo:
		return c.cluster.LetGo(ctx, v)
	}
	return nil
}

// note begins the delay, and writes on the PV when it began, so that a restart
// of the controller does not begin it anew.
func (c *controller) note(ctx context.Context, v Volume) error {
	now := time.Now()
	since := now.UTC().Format(time.RFC3339)
	if err := c.annotate(ctx, v, since, c.address(v)); err != nil {
		return err
	}
	deadline := now.Add(c.o.Delay)
	c.mu.Lock()
	c.deadlines[v.UID] = deadline
	c.mu.Unlock()
	c.log.Info("a volume's node is gone", "pv", v.Name, "node", v.Owner.String(), "deadline", deadline)
	if v.claimed() {
		c.event(ctx, v.Claim.ref(), corev1.EventTypeWarning, api.ReasonNodeGone,
			fmt.Sprintf("Node %s of volume %s is gone. This claim will be deleted at %s (after %s), unless the node comes back.",
				v.Owner, v.Name, deadline.UTC().Format(time.RFC3339), c.o.Delay))
	}
	c.queue.AddAfter(v.Name, c.o.Delay)
	return nil
}

// forget ends the delay: the node is back, or its kubelet lives.
func (c *controller) forget(ctx context.Context, v Volume, d Decision) error {
	c.mu.Lock()
	c.void[v.UID] = v.GoneSince
	_, pending := c.deadlines[v.UID]
	delete(c.deadlines, v.UID)
	c.mu.Unlock()
	if pending {
		c.log.Info("a volume's node is not gone any more", "pv", v.Name, "node", v.Owner.String())
		if v.claimed() && d.Reason == "" {
			c.event(ctx, v.Claim.ref(), corev1.EventTypeNormal, api.ReasonNodeBack,
				fmt.Sprintf("Node %s of volume %s is back. This claim stays.", v.Owner, v.Name))
		}
	}
	address := ""
	if d.Reason != "" { // it has no Node object still, which is where the address could be read
		address = c.address(v)
	}
	if v.GoneSince == "" && v.Address == address {
		return nil
	}
	return c.annotate(ctx, v, "", address)
}

// annotate writes on the PV since when its node is gone, and where its kubelet
// was; "" takes the annotation off. A role without the right to that is no
// error: it is kept in memory then.
func (c *controller) annotate(ctx context.Context, v Volume, since, address string) error {
	annotations := map[string]*string{api.AnnNodeGoneSince: nil, api.AnnNodeAddress: nil}
	if since != "" {
		annotations[api.AnnNodeGoneSince] = &since
	}
	if address != "" {
		annotations[api.AnnNodeAddress] = &address
	}
	err := c.cluster.Annotate(ctx, v, annotations)
	if apierrors.IsForbidden(err) {
		c.reports.set(ctx, patchSubject, api.ReasonRecoveryFailed,
			"since when nodes are gone is kept in memory only, and a restart of the controller begins the delay anew; Berth's finalizer stays on PVs: the role lacks "+rulePatchPVs)
		return nil
	}
	if err == nil {
		c.reports.clear(patchSubject)
	}
	return err
}

// deleteClaim deletes the claim that has a volume, if that claim says so too.
func (c *controller) deleteClaim(ctx context.Context, v Volume) error {
	claim, err := c.cluster.Claim(ctx, v.Claim.Namespace, v.Claim.Name)
	if err != nil {
		return err
	}
	if claim == nil || claim.DeletionTimestamp != nil || string(claim.UID) != v.Claim.UID || claim.Spec.VolumeName != v.Name {
		return nil
	}
	err = c.cluster.DeleteClaim(ctx, *v.Claim)
	c.metrics.claimDeleted(err)
	if err != nil {
		return err
	}
	c.log.Info("claim of a lost node's volume deleted", "claim", v.Claim.Namespace+"/"+v.Claim.Name, "pv", v.Name, "node", v.Owner.String())
	c.event(ctx, v.Claim.ref(), corev1.EventTypeWarning, api.ReasonClaimDeleted,
		fmt.Sprintf("Node %s of volume %s has not come back. This claim was deleted, so that a new one can be bound elsewhere.", v.Owner, v.Name))
	return nil
}

// failed reports what went wrong with a volume. What is wrong with all of them
// is reported as one trouble.
func (c *controller) failed(ctx context.Context, name string, err error) {
	switch {
	case apierrors.IsConflict(err): // the PV has changed meanwhile; the retry sees how
	case apierrors.IsForbidden(err) && isLease(err):
		c.reports.set(ctx, leasesSubject, api.ReasonRecoveryFailed,
			"nothing is deleted, since Leases of kubelets cannot be read, and a node that has no Node object may live: the role lacks "+ruleNodeLeases)
	case apierrors.IsForbidden(err):
		v, _ := c.volumes.Get(name)
		c.reports.set(ctx, name, api.ReasonRecoveryFailed, err.Error(), v.about()...)
	default:
		c.reports.set(ctx, name, api.ReasonRecoveryFailed, err.Error())
	}
}
