package recovery

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/api"
)

func TestDecide(t *testing.T) {
	now := time.Now()
	later, before, none := now.Add(time.Minute), now.Add(-time.Second), time.Time{}
	look := now.Add(30 * time.Second)
	vol := func(phase corev1.PersistentVolumePhase, change ...func(*Volume)) Volume {
		v := Volume{Name: "pv1", Owner: Owner{Hostnames: []string{"h1"}}, Phase: phase, Delete: true, Held: true}
		if phase != corev1.VolumeAvailable {
			v.Claim = &Claim{"ns", "c", "cu"}
		}
		for _, f := range change {
			f(&v)
		}
		return v
	}
	stamped := func(v *Volume) { v.GoneSince = "2026-01-01T00:00:00Z" }
	retain := func(v *Volume) { v.Delete = false }
	deleting := func(v *Volume) { v.Deleting = true }
	free := func(v *Volume) { v.Held = false }
	uncertain := func(v *Volume) { v.Owner.Uncertain = "it has no required node affinity" }
	reserved := func(v *Volume) { v.Claim = &Claim{"ns", "c", ""} }
	unclaimed := func(v *Volume) { v.Claim = nil }
	const (
		available, bound, released, failed = corev1.VolumeAvailable, corev1.VolumeBound, corev1.VolumeReleased, corev1.VolumeFailed
	)
	for _, c := range []struct {
		name     string
		v        Volume
		node     Standing
		deadline time.Time
		want     Verb
		reason   string
		until    time.Time
	}{
		{"Uncertain", vol(bound, uncertain), Gone, before, Nothing, api.ReasonNodeUncertain, none},
		{"UncertainStale", vol(available, uncertain), Gone, before, Nothing, api.ReasonNodeUncertain, none},
		{"Here", vol(bound), Here, none, Nothing, "", none},
		{"HereStale", vol(available), Here, none, Nothing, "", none},
		{"BackInTime", vol(bound), Here, later, Forget, "", none},
		{"BackLate", vol(bound), Here, before, Forget, "", none},
		{"BackAfterARestart", vol(bound, stamped), Here, none, Forget, "", none},
		{"Unknown", vol(bound), Unknown, before, Nothing, "", none},
		{"UnknownStale", vol(available), Unknown, before, Nothing, "", none},
		{"Alive", vol(bound), Alive, none, Nothing, api.ReasonNodeAlive, look},
		{"AliveStale", vol(available), Alive, before, Forget, api.ReasonNodeAlive, look},
		{"AliveAgain", vol(bound), Alive, before, Forget, api.ReasonNodeAlive, look},
		{"AliveWithItsAddress", vol(bound, func(v *Volume) { v.Address = "10.0.0.1:1" }), Alive, none, Forget, api.ReasonNodeAlive, look},
		{"BackWithItsAddress", vol(bound, func(v *Volume) { v.Address = "10.0.0.1:1" }), Here, none, Forget, "", none},
		{"QuietFirst", vol(bound), Quiet, none, Note, "", none},
		{"QuietWaiting", vol(bound), Quiet, later, Nothing, "", look},
		{"QuietAfterTheDelay", vol(bound), Quiet, before, Nothing, "", look},
		{"QuietStale", vol(available), Quiet, before, Nothing, "", look},
		{"GoneFirst", vol(bound), Gone, none, Note, "", none},
		{"GoneFirstStale", vol(available), Gone, none, Note, "", none},
		{"GoneWaiting", vol(bound), Gone, later, Nothing, "", later},
		{"GoneWaitingStale", vol(available), Gone, later, Nothing, "", later},
		{"GoneWaitingDeleting", vol(released, deleting), Gone, later, Nothing, "", later},
		{"Bound", vol(bound), Gone, before, DeleteClaim, "", none},
		{"BoundAtTheMoment", vol(bound), Gone, now, DeleteClaim, "", none},
		{"BoundRetain", vol(bound, retain), Gone, before, DeleteClaim, "", none},
		{"BoundDeleting", vol(bound, deleting), Gone, before, DeleteClaim, "", none},
		{"Failed", vol(failed), Gone, before, DeleteClaim, "", none},
		{"BoundToNoUID", vol(bound, reserved), Gone, before, Nothing, "", none},
		{"FailedUnclaimed", vol(failed, unclaimed), Gone, before, Nothing, "", none},
		{"Available", vol(available), Gone, before, DeletePV, "", none},
		{"AvailableRetain", vol(available, retain), Gone, before, DeletePV, "", none},
		{"AvailableOfOthers", vol(available, free), Gone, before, DeletePV, "", none},
		{"AvailableDeleting", vol(available, deleting), Gone, before, LetGo, "", none},
		{"AvailableDeletingOfOthers", vol(available, deleting, free), Gone, before, Nothing, "", none},
		{"Released", vol(released), Gone, before, DeletePV, "", none},
		{"ReleasedDeleting", vol(released, deleting), Gone, before, LetGo, "", none},
		{"ReleasedRetain", vol(released, retain), Gone, before, Nothing, "", none},
		{"ReleasedRetainDeletedByHand", vol(released, retain, deleting), Gone, before, LetGo, "", none},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := Input{Volume: c.v, Node: Verdict{Standing: c.node}, Now: now, Deadline: c.deadline}
			if c.node == Alive || c.node == Quiet {
				in.Node.Why, in.Node.Until = "its kubelet lives", look
			}
			d := Decide(in)
			if d.Verb != c.want || d.Reason != c.reason || !d.Until.Equal(c.until) || (d.Why == "") != (d.Reason == "") {
				t.Errorf("got %+v; want %s, reason %q, until %s", d, c.want, c.reason, c.until)
			}
		})
	}
}

// Nothing is deleted while anything is in doubt, in any combination.
func TestNothingIsDeletedInDoubt(t *testing.T) {
	now := time.Now()
	for _, phase := range []corev1.PersistentVolumePhase{"", corev1.VolumePending, corev1.VolumeAvailable, corev1.VolumeBound, corev1.VolumeReleased, corev1.VolumeFailed} {
		for node := Unknown; node <= Gone; node++ {
			for _, deadline := range []time.Time{{}, now.Add(time.Nanosecond), now} {
				for bits := range 32 {
					has := func(bit int) bool { return bits&(1<<bit) != 0 }
					v := Volume{Name: "pv1", Phase: phase, Delete: has(0), Deleting: has(1), Held: has(2)}
					if has(3) {
						v.Claim = &Claim{"ns", "c", "cu"}
					}
					if has(4) {
						v.Owner.Uncertain = "?"
					}
					d := Decide(Input{Volume: v, Node: Verdict{Standing: node}, Now: now, Deadline: deadline})
					certain := !has(4) && node == Gone && deadline.Equal(now)
					switch d.Verb {
					case DeleteClaim, DeletePV, LetGo:
						if !certain {
							t.Errorf("%+v, standing %d, deadline in %s: %s", v, node, deadline.Sub(now), d.Verb)
						}
					}
				}
			}
		}
	}
}

func TestNoted(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		since string
		want  time.Duration
		ok    bool
	}{
		{"2026-05-01T11:59:30Z", 30 * time.Second, true},
		{"2026-05-01T13:59:30+02:00", 30 * time.Second, true},
		{"2026-05-01T12:00:00Z", 0, true},
		{"2020-01-01T00:00:00Z", time.Minute, true},
		{"2026-05-01T12:00:01Z", 0, false},
		{"2126-05-01T12:00:00Z", 0, false},
		{"", 0, false},
		{"yesterday", 0, false},
	} {
		if got, ok := (Volume{GoneSince: c.since}).noted(now, time.Minute); got != c.want || ok != c.ok {
			t.Errorf("%q: %s, %v", c.since, got, ok)
		}
	}
}
