package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/job"
	"github.com/berth-storage/berth/internal/volume"
)

// jobs is what the agent needs of the Jobs that wipe devices; *job.Client says
// what each does.
type jobs interface {
	Run(ctx context.Context, s job.Spec) error
	Stop(ctx context.Context, s job.Spec) error
	Remove(ctx context.Context, pv, uid string) error
}

// methodJob is a wipe's method where a Job did it.
const methodJob = "job"

// away marks an error on the way to the API server, which is asked again soon.
type away struct{ error }

func (e away) Unwrap() error { return e.error }

// wantsJob reports whether the volume is wiped in a Job.
func wantsJob(s slot) bool { return s.entry.Kind == kindDevice && s.class.Wipe.Job }

// eraseInJob wipes a device in a Job. The journal names the Job from before it
// is made until it is removed, so that no later agent, whatever its
// configuration, hands the device out while the Job may write to it. A Job that
// runs already is waited for.
func (a *Agent) eraseInJob(ctx context.Context, s *situation, r *volume.Record) (wipeResult, error) {
	result := wipeResult{Method: methodJob}
	if a.jobImage == "" {
		return result, fmt.Errorf("class %s wants its devices wiped in Jobs, and the agent knows no image for them: set --job-image or JOB_CONTAINER_IMAGE, or take job: true out", s.slot.class.Name)
	}
	if err := a.proveDevice(s, r); err != nil {
		return result, fmt.Errorf("%w; no Job was made", err)
	}
	if r.Job != "" && r.Job != r.PV.Name {
		if err := a.stopJob(ctx, s, r); err != nil {
			return result, err
		}
	}
	if r.Job == "" {
		r.Job = r.PV.Name
		r.Offset, r.OffsetOf = 0, "" // the Job goes over it all
		if err := a.keep(*r); err != nil {
			return result, err
		}
	}
	client, err := a.jobs()
	if err != nil {
		return result, err
	}
	a.log.Debug("wiping in a Job", "job", job.Name(r.Job), "pv", r.PV.Name, "volume", r.ID)
	spec := a.jobSpec(s, r)
	if err := client.Run(ctx, spec); err != nil {
		return result, jobError(err)
	}
	if err := a.proveDevice(s, r); err != nil {
		// What the Job has wiped is not known, so its success counts for nothing.
		if err := client.Stop(ctx, spec); err != nil {
			return result, jobError(err)
		}
		return result, fmt.Errorf("after its Job: %w; it is wiped again", err)
	}
	return result, nil
}

// stopJob ends a Job that a volume is not to be wiped by any more.
func (a *Agent) stopJob(ctx context.Context, s *situation, r *volume.Record) error {
	client, err := a.jobs()
	if err != nil {
		return err
	}
	spec := a.jobSpec(s, r)
	spec.PV = r.Job
	if err := client.Stop(ctx, spec); err != nil {
		return jobError(err)
	}
	r.Job = ""
	return a.keep(*r)
}

// removeJob takes away the Job that has wiped a volume, now that the journal
// says so. It reports false when there is none.
func (a *Agent) removeJob(ctx context.Context, r *volume.Record) (bool, error) {
	if r == nil || r.State != volume.Wiped || r.Job == "" {
		return false, nil
	}
	client, err := a.jobs()
	if err == nil {
		err = client.Remove(ctx, r.Job, jobUID(r))
	}
	var soon away
	if err != nil && (ctx.Err() != nil || errors.As(jobError(err), &soon)) {
		return true, err
	}
	if err != nil { // the next wipe of the volume takes it away, or its time limit
		a.log.Warn("a Job that has ended could not be removed", "job", job.Name(r.Job), "volume", r.ID, "err", err)
	}
	r.Job = ""
	return true, a.keep(*r)
}

func (a *Agent) jobSpec(s *situation, r *volume.Record) job.Spec {
	c := s.slot.class
	return job.Spec{
		PV: r.PV.Name, UID: jobUID(r), Node: a.node.Name, Hostname: a.node.Hostname,
		HostDir: c.HostDir, MountDir: c.MountDir, Entry: s.slot.entry.Name, Identity: r.Identity,
		Image: a.jobImage, Command: c.Wipe.CommandLine(), Timeout: cmp.Or(c.Wipe.Timeout, config.DefaultWipeTimeout), Tolerations: a.config().JobTolerations,
		Tell: func(message string) {
			if message == "" {
				a.reports.clear(volumeSubject(r.ID))
				return
			}
			a.reportVolume(r.ID, *s, api.ReasonWipeWaiting, fmt.Sprintf("%s of %s waits: %s", volume.Wipe, describe(*s), message))
		},
	}
}

// proveDevice looks at the entry's device anew: it must be the volume's. A Job
// gets the path, and a program in it need not look what it finds there.
func (a *Agent) proveDevice(s *situation, r *volume.Record) error {
	entries, errs, err := a.machine.Scan([]config.Class{s.slot.class})
	if err == nil {
		err = errs[s.slot.class.Name]
	}
	if err != nil {
		return err
	}
	i := slices.IndexFunc(entries, func(e entry) bool { return e.Name == s.slot.entry.Name && e.Kind == kindDevice })
	if i < 0 {
		return fmt.Errorf("%q is no block device any more", s.slot.entry.Name)
	}
	d, problem, err := a.machine.Inspect(s.slot.class, entries[i])
	switch {
	case err != nil:
		return err
	case d == nil:
		return errors.New("it " + problem)
	case d.Identity != r.Identity:
		return fmt.Errorf("it is %s, not %s", d.Identity, r.Identity)
	}
	return nil
}

// jobError tells the errors apart: a Job's failure and a refusal of the API
// server stay what they are, others are on the way to it.
func jobError(err error) error {
	if errors.Is(err, job.ErrFailed) || job.Permanent(err) {
		return err
	}
	return away{err}
}
