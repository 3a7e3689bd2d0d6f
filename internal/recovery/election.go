package recovery

import (
	"context"
	"errors"
	"log/slog"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// LeaseName is the Lease that the leading controller holds.
const LeaseName = "berth-controller"

// ErrLost says that this process was the leader and is not any more. It has
// stopped all work, and what it knew may be old: it is to end and start anew.
var ErrLost = errors.New("lost the lease " + LeaseName + ": another controller may lead now")

// leases is what an election needs of the API server.
type leases interface {
	Lease(ctx context.Context, namespace, name string) (*coordinationv1.Lease, error)
	CreateLease(ctx context.Context, lease *coordinationv1.Lease) error
	UpdateLease(ctx context.Context, lease *coordinationv1.Lease) error
}

// election decides by a Lease which of several processes leads, the way that
// Kubernetes' own controllers do: a holder renews it; another takes it when it
// has seen it unchanged for its duration, by its own clock, so that clocks may
// differ. A holder that could not renew it stops, sooner than that.
//
// It is client-go's leaderelection in small. That one brings the clients for
// all kinds of objects with it; see client.
type election struct {
	api                 leases
	namespace, identity string
	// duration is for how long others let a Lease be that is not renewed,
	// deadline for how long its holder tries to renew it, retry how long it waits
	// between two tries: duration > deadline > retry.
	duration, deadline, retry time.Duration
	log                       *slog.Logger

	seen    *coordinationv1.Lease // as it was last
	seenAt  time.Time             // since when it has been like that, by this process's clock
	trouble string                // the last error that was told
}

// run waits until this process leads and then calls lead, whose context ends
// with ctx or when the Lease is lost. It returns when lead has: nil when ctx has
// ended, else ErrLost.
func (e *election) run(ctx context.Context, lead func(context.Context)) error {
	held := time.Now()
	for !e.try(ctx, held) {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(e.retry):
		}
		held = time.Now()
	}
	e.log.Info("leading", "lease", e.namespace+"/"+LeaseName, "identity", e.identity)
	leading, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	go func() { defer close(ended); lead(leading) }()
	e.renew(leading, held)
	stop()
	<-ended
	if ctx.Err() == nil {
		return ErrLost
	}
	e.release(context.WithoutCancel(ctx))
	return nil
}

// renew keeps the Lease, which was taken at a moment, until ctx ends or the Lease
// is lost. A renewal counts from when it was begun: the others may have seen it
// then.
func (e *election) renew(ctx context.Context, held time.Time) {
	for {
		left := e.deadline - time.Since(held)
		if left <= 0 {
			e.log.Error("the lease could not be renewed in time", "deadline", e.deadline)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(e.retry, left)):
		}
		begun := time.Now()
		switch {
		case e.try(ctx, held):
			held = begun
		case ctx.Err() == nil && e.taken():
			e.log.Error("the lease was taken over", "by", holder(e.seen))
			return
		}
	}
}

// try is hold, given up when the deadline since a moment is over; what is held
// too late is not held.
func (e *election) try(ctx context.Context, since time.Time) bool {
	ctx, cancel := context.WithDeadline(ctx, since.Add(e.deadline))
	defer cancel()
	return e.hold(ctx) && ctx.Err() == nil
}

// taken reports whether another process holds the Lease.
func (e *election) taken() bool {
	return e.seen != nil && holder(e.seen) != "" && holder(e.seen) != e.identity
}

// hold takes or renews the Lease, and reports whether this process holds it now.
func (e *election) hold(ctx context.Context) bool {
	lease, err := e.api.Lease(ctx, e.namespace, LeaseName)
	if err != nil {
		return e.failed(ctx, err)
	}
	now := time.Now()
	if lease == nil {
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: LeaseName}}
		e.fill(lease, now)
		if err := e.api.CreateLease(ctx, lease); err != nil {
			return e.failed(ctx, err)
		}
		e.trouble = ""
		return true
	}
	if e.seen == nil || e.seen.ResourceVersion != lease.ResourceVersion || e.seen.UID != lease.UID {
		e.seen, e.seenAt = lease.DeepCopy(), now
	}
	if e.taken() && now.Sub(e.seenAt) < e.patience() {
		e.trouble = ""
		return false
	}
	e.fill(lease, now)
	if err := e.api.UpdateLease(ctx, lease); err != nil {
		return e.failed(ctx, err)
	}
	e.seen, e.trouble = nil, ""
	return true
}

// patience is for how long the Lease that was seen is let be: as long as its
// holder counts on.
func (e *election) patience() time.Duration {
	if s := e.seen.Spec.LeaseDurationSeconds; s != nil {
		return max(e.duration, time.Duration(*s)*time.Second)
	}
	return e.duration
}

func (e *election) fill(lease *coordinationv1.Lease, now time.Time) {
	seconds, renewed := int32((e.duration+time.Second-1)/time.Second), metav1.NewMicroTime(now)
	s := &lease.Spec
	if holder(lease) != e.identity {
		changes := int32(0)
		if s.LeaseTransitions != nil {
			changes = *s.LeaseTransitions + 1
		}
		s.LeaseTransitions, s.AcquireTime = &changes, &renewed
	}
	s.HolderIdentity, s.LeaseDurationSeconds, s.RenewTime = &e.identity, &seconds, &renewed
}

// release gives the Lease up, so that the next need not wait. It is tried once.
func (e *election) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, e.retry)
	defer cancel()
	lease, err := e.api.Lease(ctx, e.namespace, LeaseName)
	if err != nil || lease == nil || holder(lease) != e.identity {
		return
	}
	nobody, now := "", metav1.NowMicro()
	lease.Spec.HolderIdentity, lease.Spec.RenewTime = &nobody, &now
	if err := e.api.UpdateLease(ctx, lease); err != nil {
		e.log.Warn("the lease could not be given up; the next leader waits until it ends", "err", err)
	}
}

func holder(lease *coordinationv1.Lease) string {
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// failed tells an error once; it returns false. Another process that was faster
// is no error.
func (e *election) failed(ctx context.Context, err error) bool {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || errors.Is(ctx.Err(), context.Canceled) || err.Error() == e.trouble {
		return false
	}
	e.trouble = err.Error()
	if apierrors.IsForbidden(err) {
		e.log.Error("the lease of the leader cannot be used, so nothing is done; give the role the rule, or run one replica with --leader-elect=false",
			"err", err, "rule", ruleLease+e.namespace)
		return false
	}
	e.log.Warn("the lease of the leader could not be used; trying again", "err", err)
	return false
}
