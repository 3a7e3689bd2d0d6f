package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
)

// ErrFailed is returned for a Job that has not wiped the device, as opposed to
// errors on the way to the API server, which say nothing of the Job.
var ErrFailed = errors.New("the cleaning Job failed")

const (
	// rounds is how often a Job that is in the way is taken away in one try.
	rounds = 5
	// tick is how often the clock is looked at while a Job is followed.
	tick = 30 * time.Second
	// patience is how long a Job may wait for its pod, or a deleted Job for its
	// pods to end, before that is told.
	patience = 2 * time.Minute
	// endSlack is how long after its timeout a Job may take to end. One of the
	// established provisioner's has no timeout of its own.
	endSlack = 5 * time.Minute
)

// Run wipes the device of s in a Job and returns once the Job has succeeded. It
// goes on with a Job that was begun for the same PersistentVolume, by UID,
// whoever began it; one that has succeeded is the result. A Job of another PV
// of that name, and one that has failed, is taken away first, and it is waited
// for until its pods have ended: two programs must not write to one device.
// The Job stays; see Remove. A Job that did not do it is ErrFailed. When ctx
// ends, the Job runs on.
func (c *Client) Run(ctx context.Context, s Spec) error {
	name := Name(s.PV)
	for range rounds {
		j, err := c.get(ctx, name)
		if err == nil && j == nil {
			j, err = c.create(ctx, s.build(c.namespace, time.Now()))
		}
		switch {
		case err != nil:
			return err
		case j == nil: // somebody else was faster
		case s.began(j) && (complete(j) || j.DeletionTimestamp == nil && failure(j) == nil):
			return c.finish(ctx, s, j)
		default:
			if err := c.clear(ctx, s, j); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("making Job %s: something else keeps making it", c.full(name))
}

// Stop takes away the Job of s.PV, whatever its state, and waits until its pods
// have ended. A Job that does not exist is no error. Of s it needs PV and Tell.
func (c *Client) Stop(ctx context.Context, s Spec) error {
	j, err := c.get(ctx, Name(s.PV))
	if err != nil || j == nil {
		return err
	}
	return c.clear(ctx, s, j)
}

// Remove deletes the Job of a PersistentVolume, by its UID, after its success
// was recorded. A Job that is gone, or that is another PV's, is no error.
func (c *Client) Remove(ctx context.Context, pv, uid string) error {
	j, err := c.get(ctx, Name(pv))
	if err != nil || j == nil || j.Labels[labelPVUID] != uid {
		return err
	}
	return c.delete(ctx, j, metav1.DeletePropagationBackground)
}

// finish follows a Job to its end.
func (c *Client) finish(ctx context.Context, s Spec, first *batchv1.Job) error {
	begun := time.Now()
	later := teller{tell: s.Tell}
	var result error
	overdue := false
	err := c.await(ctx, first.Name, tick, func(j *batchv1.Job) bool {
		switch {
		case j == nil || j.UID != first.UID:
			result = fmt.Errorf("%w: Job %s was deleted before it had ended", ErrFailed, c.full(first.Name))
		case complete(j):
		case failure(j) != nil:
			result = c.failed(j)
		case j.DeletionTimestamp != nil:
			result = fmt.Errorf("%w: Job %s was deleted while it ran", ErrFailed, c.full(first.Name))
		case time.Since(begun) > s.Timeout+endSlack:
			overdue = true
		default:
			later.about(!started(j), func() string {
				return fmt.Sprintf("Job %s has not started after %s; kubectl -n %s get events, and its pod, say why", c.full(j.Name), patience, c.namespace)
			})
			return false
		}
		return true
	})
	if err == nil && overdue {
		if err = c.delete(ctx, first, metav1.DeletePropagationForeground); err == nil {
			result = fmt.Errorf("%w: Job %s had not ended after %s, and is deleted", ErrFailed, c.full(first.Name), s.Timeout)
		}
	}
	if err != nil {
		return err
	}
	return result
}

// failed says why a Job has failed, and where to look.
func (c *Client) failed(j *batchv1.Job) error {
	why := failure(j)
	hint := fmt.Sprintf("kubectl -n %s logs job/%s shows its output", c.namespace, j.Name)
	if why.Reason == batchv1.JobReasonDeadlineExceeded { // its pod is deleted, log and all
		hint = "it did not start, or needs a longer timeout in its class's wipe"
	}
	return fmt.Errorf("%w: Job %s: %s: %s; %s", ErrFailed, c.full(j.Name), why.Reason, why.Message, hint)
}

// clear deletes a Job and waits until it is gone, which in the foreground is
// after its pods.
func (c *Client) clear(ctx context.Context, s Spec, old *batchv1.Job) error {
	if old.DeletionTimestamp == nil {
		if err := c.delete(ctx, old, metav1.DeletePropagationForeground); err != nil {
			return err
		}
	}
	later := teller{tell: s.Tell}
	return c.await(ctx, old.Name, tick, func(j *batchv1.Job) bool {
		gone := j == nil || j.UID != old.UID
		later.about(!gone, func() string {
			return fmt.Sprintf("Job %s is deleted and its pod has not ended; the next wipe waits for that", c.full(old.Name))
		})
		return gone
	})
}

// began reports whether a Job is for this volume as it was released. The
// established provisioner's Jobs name no identity.
func (s Spec) began(j *batchv1.Job) bool {
	identity, told := j.Annotations[api.AnnIdentity]
	return j.Labels[labelPVUID] == s.UID && (!told || identity == string(s.Identity))
}

func complete(j *batchv1.Job) bool { return condition(j, batchv1.JobComplete) != nil }

func failure(j *batchv1.Job) *batchv1.JobCondition { return condition(j, batchv1.JobFailed) }

func condition(j *batchv1.Job, kind batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range j.Status.Conditions {
		if c := &j.Status.Conditions[i]; c.Type == kind && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// started reports whether the Job's program runs or has run, as far as the Job
// says it: an API server before 1.24 does not count ready pods.
func started(j *batchv1.Job) bool {
	s := j.Status
	return s.Ready != nil && *s.Ready > 0 || s.Ready == nil && s.Active > 0 || s.Succeeded+s.Failed > 0
}

// teller tells of a wait that lasts, once, and of its end.
type teller struct {
	tell  func(string)
	since time.Time
	told  bool
}

// about takes in whether there is something to wait for now.
func (t *teller) about(waiting bool, what func() string) {
	switch {
	case t.tell == nil:
	case !waiting:
		if t.told {
			t.tell("")
		}
		t.since, t.told = time.Time{}, false
	case t.since.IsZero():
		t.since = time.Now()
	case !t.told && time.Since(t.since) >= patience:
		t.told = true
		t.tell(what())
	}
}
