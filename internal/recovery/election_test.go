package recovery

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var leaseResource = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

// ballot is an API server with one Lease.
type ballot struct {
	mu      sync.Mutex
	lease   *coordinationv1.Lease
	serial  int
	away    map[string]bool // identities that do not reach it
	leading map[string]int  // how many lead, by identity
	most    int             // how many have led at the same time
}

// voter is the ballot as one process sees it.
type voter struct {
	*ballot
	identity string
}

func (v voter) may(ctx context.Context) error {
	if v.away[v.identity] {
		return errors.New("no route")
	}
	return ctx.Err()
}

func (v voter) Lease(ctx context.Context, _, _ string) (*coordinationv1.Lease, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.lease.DeepCopy(), v.may(ctx)
}

func (v voter) CreateLease(ctx context.Context, lease *coordinationv1.Lease) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lease != nil {
		return apierrors.NewAlreadyExists(leaseResource, lease.Name)
	}
	return v.put(ctx, lease)
}

func (v voter) UpdateLease(ctx context.Context, lease *coordinationv1.Lease) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lease == nil || v.lease.ResourceVersion != lease.ResourceVersion {
		return apierrors.NewConflict(leaseResource, lease.Name, errors.New("it has changed"))
	}
	return v.put(ctx, lease)
}

func (v voter) put(ctx context.Context, lease *coordinationv1.Lease) error {
	if err := v.may(ctx); err != nil {
		return err
	}
	v.serial++
	v.lease = lease.DeepCopy()
	v.lease.ResourceVersion = strconv.Itoa(v.serial)
	return nil
}

func newBallot() *ballot { return &ballot{away: map[string]bool{}, leading: map[string]int{}} }

func (b *ballot) cut(identity string, away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away[identity] = away
}

// run is one process; its end is sent to the channel.
func (b *ballot) run(ctx context.Context, identity string) <-chan error {
	e := &election{api: voter{b, identity}, namespace: "ns", identity: identity,
		duration: 15 * time.Second, deadline: 10 * time.Second, retry: 2 * time.Second, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	ended := make(chan error, 1)
	go func() {
		ended <- e.run(ctx, func(ctx context.Context) {
			b.mu.Lock()
			b.leading[identity]++
			b.most = max(b.most, len(b.leading))
			b.mu.Unlock()
			<-ctx.Done()
			b.mu.Lock()
			delete(b.leading, identity)
			b.mu.Unlock()
		})
	}()
	return ended
}

func (b *ballot) leader(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if want == "" && len(b.leading) > 0 || want != "" && (len(b.leading) != 1 || b.leading[want] != 1) {
		t.Errorf("leading: %v, want %q", b.leading, want)
	}
}

func TestLeaderStopsAndTheNextTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBallot()
		ctx, stop := context.WithCancel(t.Context())
		a := b.run(ctx, "a")
		b.leader(t, "a")
		later, end := context.WithCancel(t.Context())
		second := b.run(later, "b")
		time.Sleep(10 * time.Minute)
		b.leader(t, "a")
		stop()
		if err := <-a; err != nil {
			t.Errorf("the leader that was stopped: %v", err)
		}
		time.Sleep(3 * time.Second) // it gave the lease up: nobody waits for its end
		b.leader(t, "b")
		end()
		if err := <-second; err != nil {
			t.Error(err)
		}
		if b.most != 1 || *b.lease.Spec.LeaseTransitions < 1 {
			t.Errorf("%d led at a time, %d changes", b.most, *b.lease.Spec.LeaseTransitions)
		}
	})
}

// A leader that is cut off stops before another one begins.
func TestLeaderCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBallot()
		ctx, stop := context.WithCancel(t.Context())
		a := b.run(ctx, "a")
		b.leader(t, "a")
		second := b.run(ctx, "b")
		time.Sleep(20*time.Second + time.Millisecond)
		b.cut("a", true)
		cut := time.Now()
		if err := <-a; !errors.Is(err, ErrLost) {
			t.Errorf("the leader that was cut off: %v", err)
		}
		if took := time.Since(cut); took > 10*time.Second {
			t.Errorf("the leader stopped %s after it was cut off", took)
		}
		b.leader(t, "")
		time.Sleep(10 * time.Second)
		b.leader(t, "b")
		stop()
		<-second
		if b.most != 1 {
			t.Errorf("%d led at a time", b.most)
		}
	})
}

// A short time away is no reason to stop.
func TestLeaderOutlastsAHiccup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBallot()
		ctx, stop := context.WithCancel(t.Context())
		a := b.run(ctx, "a")
		b.leader(t, "a")
		second := b.run(ctx, "b")
		for range 10 {
			b.cut("a", true)
			time.Sleep(7 * time.Second)
			b.cut("a", false)
			time.Sleep(5 * time.Second)
			b.leader(t, "a")
		}
		stop()
		<-a
		<-second
	})
}

// Somebody has taken the lease by hand.
func TestLeaseTakenByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBallot()
		a := b.run(t.Context(), "a")
		b.leader(t, "a")
		other := "somebody"
		b.mu.Lock()
		b.serial++
		b.lease.Spec.HolderIdentity, b.lease.ResourceVersion = &other, strconv.Itoa(b.serial)
		b.mu.Unlock()
		begun := time.Now()
		if err := <-a; !errors.Is(err, ErrLost) || time.Since(begun) > 3*time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}
