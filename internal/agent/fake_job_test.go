package agent

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/berth-storage/berth/internal/job"
)

// jobTime is how long a Job runs.
const jobTime = 20 * time.Second

// fakeJob is a Job as the world has it: it runs whether or not an agent does.
type fakeJob struct {
	uid   string // of the PV
	spec  job.Spec
	ended chan struct{}
	err   error // once it has ended
	gone  bool
}

// fakeJobs is the Jobs as one process sees them.
type fakeJobs struct{ *process }

// makeJob begins a Job. The caller holds mu.
func (w *world) makeJob(s job.Spec) {
	j := &fakeJob{uid: s.UID, spec: s, ended: make(chan struct{})}
	w.jobs[s.PV] = j
	w.made++
	if w.jobFate != nil {
		j.err = w.jobFate()
	}
	time.AfterFunc(jobTime, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		d := w.disks[s.Entry]
		switch {
		case j.gone:
		case d == nil:
			j.err = errors.Join(job.ErrFailed, errors.New("no disk"))
		case j.err == nil: // whatever disk it is: not every program looks
			d.bytes = ""
		}
		close(j.ended)
	})
}

func (p fakeJobs) Run(ctx context.Context, s job.Spec) error {
	var j *fakeJob
	err := p.request("begin Job", func() error {
		old := p.w.jobs[s.PV]
		if old == nil || old.uid != s.UID || old.isEnded() && old.err != nil {
			if old != nil {
				old.gone = true
			}
			p.w.makeJob(s)
		}
		j = p.w.jobs[s.PV]
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case <-time.After(jobTime / 2):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := p.step("Job runs", func() error { return nil }); err != nil {
		return err
	}
	select {
	case <-j.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	return p.step("Job has ended", func() error { return j.err })
}

func (j *fakeJob) isEnded() bool {
	select {
	case <-j.ended:
		return true
	default:
		return false
	}
}

func (p fakeJobs) Stop(_ context.Context, s job.Spec) error {
	return p.request("stop Job", func() error { return p.w.endJob(s.PV, "") })
}

func (p fakeJobs) Remove(_ context.Context, pv, uid string) error {
	return p.request("remove Job", func() error { return p.w.endJob(pv, uid) })
}

func (w *world) endJob(pv, uid string) error {
	if j := w.jobs[pv]; j != nil && (uid == "" || j.uid == uid) {
		j.gone = true
		delete(w.jobs, pv)
	}
	return nil
}

func (p fakeJobs) request(name string, effect func() error) error {
	return p.step(name, func() error {
		if p.w.down || p.w.noJobs {
			return apierrors.NewServiceUnavailable("down")
		}
		return effect()
	})
}
