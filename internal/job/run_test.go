package job

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const jobName = "cleanup-local-pv-1"

// try is one Run under way.
type try struct {
	s      *server
	c      *Client
	told   []string
	cancel context.CancelFunc
	result chan error
}

// begin starts a Run on a server that has a Job already, if old is not nil.
func begin(t *testing.T, old *batchv1.Job, change func(*Spec)) *try {
	s, c := newServer(t)
	if old != nil {
		s.do(func() { s.store(old) })
	}
	spec := testSpec()
	if change != nil {
		change(&spec)
	}
	ctx, cancel := context.WithCancel(t.Context())
	try := &try{s: s, c: c, cancel: cancel, result: make(chan error, 1)}
	spec.Tell = func(message string) { s.do(func() { try.told = append(try.told, message) }) }
	go func() { try.result <- c.Run(ctx, spec) }()
	synctest.Wait()
	return try
}

// end waits for the Run, which must be over.
func (r *try) end(t *testing.T) error {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-r.result:
		r.s.do(r.s.endWatches)
		synctest.Wait()
		return err
	default:
		t.Fatal("it still waits")
		return nil
	}
}

func (r *try) job() (j *batchv1.Job) {
	r.s.do(func() { j = r.s.jobs[jobName] })
	return j
}

// asked is what the server was asked so far, and said what Tell was told.
func (r *try) asked() (log []string) {
	r.s.do(func() { log = slices.Clone(r.s.log) })
	return log
}

func (r *try) said() (told []string) {
	r.s.do(func() { told = slices.Clone(r.told) })
	return told
}

func (r *try) running(t *testing.T) {
	t.Helper()
	synctest.Wait()
	if len(r.result) > 0 {
		t.Fatalf("it has ended: %v", <-r.result)
	}
}

func oldJob(uid, identity string, status ...func(*batchv1.Job)) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: jobName, Namespace: "berth", UID: types.UID("old-job"),
		Labels: map[string]string{labelPVUID: uid}, Annotations: map[string]string{}}}
	if identity != "" {
		j.Annotations["berth.storage/identity"] = identity
	}
	for _, change := range status {
		change(j)
	}
	return j
}

var (
	succeeds = ended(batchv1.JobComplete, "", "")
	fails    = ended(batchv1.JobFailed, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
)

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t, nil, nil)
		r.running(t)
		uid := r.job().UID
		r.s.edit(jobName, succeeds)
		if err := r.end(t); err != nil {
			t.Fatal(err)
		}
		if r.job() == nil {
			t.Fatal("the Job is gone before its success was recorded")
		}
		if err := r.c.Remove(t.Context(), "local-pv-1", "another"); err != nil || r.job().UID != uid {
			t.Errorf("a Job of another PV was removed: %v", err)
		}
		if err := r.c.Remove(t.Context(), "local-pv-1", "pv-uid"); err != nil || r.job() != nil {
			t.Errorf("it was not removed: %v", err)
		}
		if err := r.c.Remove(t.Context(), "local-pv-1", "pv-uid"); err != nil {
			t.Errorf("removing what is gone: %v", err)
		}
		if want := []string{"GET", "POST", "GET", "WATCH", "GET", "GET", "DELETE", "GET"}; !slices.Equal(r.asked(), want) {
			t.Errorf("asked for %v, want %v", r.asked(), want)
		}
	})
}

func TestRunFails(t *testing.T) {
	for _, c := range []struct {
		end  func(r *try)
		want []string
	}{
		{func(r *try) { r.s.edit(jobName, fails) }, []string{"berth/cleanup-local-pv-1", "BackoffLimitExceeded", "kubectl -n berth logs job/cleanup-local-pv-1"}},
		{func(r *try) {
			r.s.edit(jobName, ended(batchv1.JobFailed, "DeadlineExceeded", "Job was active longer than specified deadline"))
		}, []string{"DeadlineExceeded", "timeout"}},
		{func(r *try) { r.s.do(func() { r.s.gone(jobName) }) }, []string{"deleted before it had ended"}},
		{func(r *try) { r.s.edit(jobName, func(j *batchv1.Job) { j.DeletionTimestamp = new(metav1.Now()) }) }, []string{"deleted while it ran"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := begin(t, nil, nil)
			r.running(t)
			c.end(r)
			err := r.end(t)
			if !errors.Is(err, ErrFailed) {
				t.Fatalf("got %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

// TestRunGoesOn: a Job for the same PV is waited for and taken for the result,
// also one of the established provisioner's, which names no identity.
func TestRunGoesOn(t *testing.T) {
	for _, identity := range []string{"", "wwid:1"} {
		for _, done := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				old := oldJob("pv-uid", identity)
				if done {
					succeeds(old)
				}
				r := begin(t, old, nil)
				if !done {
					r.running(t)
					r.s.edit(jobName, succeeds)
				}
				if err := r.end(t); err != nil {
					t.Error(err)
				}
				if slices.Contains(r.asked(), "POST") || slices.Contains(r.asked(), "DELETE") {
					t.Errorf("asked for %v", r.asked())
				}
			})
		}
	}
}

// TestRunClears: a Job that is in the way is deleted, and another is made only
// when the old one's pods have ended.
func TestRunClears(t *testing.T) {
	deleting := func(j *batchv1.Job) { j.DeletionTimestamp = new(metav1.Now()) }
	for name, old := range map[string]*batchv1.Job{
		"another PV's, running":     oldJob("old-uid", ""),
		"another PV's, succeeded":   oldJob("old-uid", "", succeeds),
		"of another disk":           oldJob("pv-uid", "wwid:2", succeeds),
		"failed":                    oldJob("pv-uid", "wwid:1", fails),
		"being deleted":             oldJob("pv-uid", "wwid:1", deleting),
		"failed, and being deleted": oldJob("pv-uid", "wwid:1", fails, deleting),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := begin(t, old, nil)
				r.running(t)
				if j := r.job(); j.UID != "old-job" || j.DeletionTimestamp == nil {
					t.Fatalf("the old Job is %v", j)
				}
				if slices.Contains(r.asked(), "DELETE") == strings.HasSuffix(name, "being deleted") || slices.Contains(r.asked(), "DELETE") != slices.Contains(r.asked(), "foreground") {
					t.Errorf("asked for %v", r.asked())
				}
				time.Sleep(patience + 2*tick)
				synctest.Wait()
				r.s.reap(jobName)
				r.running(t)
				if j := r.job(); j == nil || j.UID == "old-job" {
					t.Fatalf("the Job is %v", j)
				}
				r.s.edit(jobName, succeeds)
				if err := r.end(t); err != nil {
					t.Error(err)
				}
				if len(r.said()) != 2 || !strings.Contains(r.said()[0], "has not ended") || r.said()[1] != "" {
					t.Errorf("told %q", r.said())
				}
			})
		})
	}
}

// TestRunWatchEnds: a watch that ends, a server that is away, and one that
// says nothing for hours lose nothing.
func TestRunWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t, nil, func(s *Spec) { s.Timeout = 24 * time.Hour })
		for range 3 {
			r.s.do(r.s.endWatches)
			time.Sleep(time.Second)
			r.running(t)
		}
		r.s.do(func() { r.s.down = true; r.s.endWatches() })
		time.Sleep(time.Hour)
		r.running(t)
		r.s.do(func() { r.s.down = false })
		time.Sleep(5 * time.Second)
		r.running(t)
		before := len(r.asked())
		time.Sleep(10 * time.Hour) // of watches that bring nothing
		r.running(t)
		if n := len(r.asked()) - before; n > 500 {
			t.Errorf("%d requests in 10 quiet hours", n)
		}
		r.s.do(func() { r.s.down = true; r.s.endWatches() })
		r.s.edit(jobName, succeeds) // unseen
		r.s.do(func() { r.s.down = false })
		time.Sleep(5 * time.Second)
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

// TestRunStops: the end of ctx leaves the Job running.
func TestRunStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t, nil, nil)
		r.running(t)
		r.cancel()
		if err := r.end(t); !errors.Is(err, context.Canceled) || errors.Is(err, ErrFailed) {
			t.Errorf("got %v", err)
		}
		if j := r.job(); j == nil || j.DeletionTimestamp != nil {
			t.Errorf("the Job is %v", j)
		}
	})
}

// TestRunDoesNotStart: a pod that cannot be placed is told of once, and its
// start too.
func TestRunDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t, nil, nil)
		pending := func(j *batchv1.Job) { j.Status.Active, j.Status.Ready = 1, new(int32(0)) }
		r.s.edit(jobName, pending)
		time.Sleep(patience - tick)
		synctest.Wait()
		if len(r.said()) != 0 {
			t.Errorf("told %q at once", r.said())
		}
		time.Sleep(time.Hour / 2)
		synctest.Wait()
		if len(r.said()) != 1 || !strings.Contains(r.said()[0], "berth/cleanup-local-pv-1 has not started") {
			t.Fatalf("told %q", r.said())
		}
		r.s.edit(jobName, func(j *batchv1.Job) { j.Status.Ready = new(int32(1)) })
		r.running(t)
		r.s.edit(jobName, succeeds)
		if err := r.end(t); err != nil || len(r.said()) != 2 || r.said()[1] != "" {
			t.Errorf("got %v, told %q", err, r.said())
		}
	})
}

// TestRunIsBounded: a Job without a deadline of its own is not waited for for
// ever, and is taken away, pods first.
func TestRunIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t, oldJob("pv-uid", ""), nil)
		r.running(t)
		time.Sleep(time.Hour + endSlack + 2*tick)
		if err := r.end(t); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "1h0m0s") {
			t.Errorf("got %v", err)
		}
		if r.job().DeletionTimestamp == nil {
			t.Error("the Job was left")
		}
	})
}

// TestRunRefused: what the API server does not allow is neither the Job's
// failure nor tried for ever.
func TestRunRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newServer(t)
		s.refuse = apierrors.NewForbidden(jobResource, jobName, errors.New("no role"))
		for _, err := range []error{c.Run(t.Context(), testSpec()), c.Stop(t.Context(), testSpec()), c.Remove(t.Context(), "local-pv-1", "pv-uid")} {
			if err == nil || errors.Is(err, ErrFailed) || !Permanent(err) {
				t.Errorf("got %v", err)
			}
		}
		s.refuse = nil
		r := begin(t, nil, nil)
		r.s.do(func() {
			r.s.refuse = apierrors.NewForbidden(jobResource, jobName, errors.New("no role any more"))
			r.s.endWatches()
		})
		time.Sleep(time.Second)
		if err := r.end(t); !Permanent(err) {
			t.Errorf("got %v", err)
		}
	})
}

// TestStop waits for the pods.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newServer(t)
		if err := c.Stop(t.Context(), testSpec()); err != nil {
			t.Fatal(err)
		}
		s.do(func() { s.store(oldJob("whose", "")) })
		done := make(chan error, 1)
		go func() { done <- c.Stop(t.Context(), testSpec()) }()
		synctest.Wait()
		if len(done) > 0 {
			t.Fatal("it did not wait")
		}
		s.reap(jobName)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
