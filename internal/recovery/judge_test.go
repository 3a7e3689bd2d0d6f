package recovery

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestJudge(t *testing.T) {
	now := time.Now()
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	beat := func(renewed, same int, moved bool) Beat {
		return Beat{Node: "n1", Renewed: ago(renewed), Duration: 40 * time.Second, Same: ago(same), Moved: moved}
	}
	for _, c := range []struct {
		name  string
		e     Evidence
		want  Standing
		until time.Time
	}{
		{"Node", Evidence{Node: "n1"}, Here, time.Time{}},
		{"NodeWhateverElse", Evidence{Node: "n1", Answered: "a", Beats: []Beat{beat(500, 500, false)}}, Here, time.Time{}},
		{"NothingAtAll", Evidence{}, Gone, time.Time{}},
		{"KubeletAnswers", Evidence{Answered: "10.0.0.1:10250"}, Alive, time.Time{}},
		{"KubeletAnswersOldLease", Evidence{Answered: "10.0.0.1:10250", Beats: []Beat{beat(500, 500, false)}}, Alive, time.Time{}},
		{"FirstLook", Evidence{Beats: []Beat{beat(5, 0, false)}}, Quiet, ago(-40)},
		// The clock says that it is long over: it may be wrong.
		{"FirstLookOld", Evidence{Beats: []Beat{beat(5000, 0, false)}}, Quiet, ago(-40)},
		{"NotWatchedLongEnough", Evidence{Beats: []Beat{beat(5000, 39, false)}}, Quiet, ago(-1)},
		{"WatchedNotOld", Evidence{Beats: []Beat{beat(70, 60, false)}}, Quiet, ago(-10)},
		// The kubelet's clock is an hour ahead, or ours behind.
		{"FromTheFuture", Evidence{Beats: []Beat{beat(-3600, 600, false)}}, Quiet, ago(-40)},
		{"Stale", Evidence{Beats: []Beat{beat(81, 40, false)}}, Gone, time.Time{}},
		{"Renewed", Evidence{Beats: []Beat{beat(1, 1, true)}}, Alive, ago(-40)},
		{"RenewedAndSilentSince", Evidence{Beats: []Beat{beat(81, 41, true)}}, Gone, time.Time{}},
		{"OneOfTwo", Evidence{Beats: []Beat{beat(500, 500, false), beat(5, 5, true)}}, Alive, ago(-40)},
		{"TwoStale", Evidence{Beats: []Beat{beat(500, 500, false), beat(90, 50, false)}}, Gone, time.Time{}},
		{"NoDuration", Evidence{Beats: []Beat{{Node: "n1", Renewed: ago(70), Same: ago(60)}}}, Quiet, ago(-10)},
		{"NeverRenewed", Evidence{Beats: []Beat{{Node: "n1", Same: ago(40)}}}, Gone, time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Judge(c.e, now)
			if got.Standing != c.want {
				t.Fatalf("got %+v, want standing %d", got, c.want)
			}
			if !got.Until.Equal(c.until) {
				t.Errorf("until %s, want %s", got.Until.Sub(now), c.until.Sub(now))
			}
			if (got.Why == "") != (c.want == Here || c.want == Gone) {
				t.Errorf("why %q", got.Why)
			}
		})
	}
}

func TestBeats(t *testing.T) {
	now := time.Now()
	at := func(s int) time.Time { return now.Add(time.Duration(s) * time.Second) }
	lease := func(renewed int) *coordinationv1.Lease {
		l, d := &coordinationv1.Lease{}, int32(40)
		r := metav1.NewMicroTime(at(renewed))
		l.Spec.RenewTime, l.Spec.LeaseDurationSeconds = &r, &d
		return l
	}
	b, ok := beatOf("n1", lease(0), Beat{}, at(1))
	if !ok || b.Moved || !b.Same.Equal(at(1)) || b.Duration != 40*time.Second {
		t.Errorf("first look: %+v", b)
	}
	if b, _ = beatOf("n1", lease(0), b, at(9)); b.Moved || !b.Same.Equal(at(1)) {
		t.Errorf("the same again: %+v", b)
	}
	if b, _ = beatOf("n1", lease(10), b, at(11)); !b.Moved || !b.Same.Equal(at(11)) {
		t.Errorf("renewed: %+v", b)
	}
	if b, _ = beatOf("n1", lease(10), b, at(30)); !b.Moved || !b.Same.Equal(at(11)) {
		t.Errorf("not renewed since: %+v", b)
	}
	if _, ok := beatOf("n1", nil, b, at(40)); ok {
		t.Error("a Lease that is gone has a beat")
	}
	if b, ok := beatOf("n1", &coordinationv1.Lease{}, Beat{}, now); !ok || !b.Renewed.IsZero() || b.Duration != 0 {
		t.Errorf("an empty Lease: %+v", b)
	}
}

func TestCertificates(t *testing.T) {
	for _, c := range []struct {
		cn   string
		dns  []string
		want bool
	}{
		{"system:node:n1", nil, true},
		{"n1@1790000000", nil, true},
		{"n1-ca@1790000000", []string{"n1"}, true},
		{"n1", nil, true},
		{"system:node:n11", nil, false},
		{"n11@1790000000", []string{"n11"}, false},
		{"", nil, false},
		{"10.0.0.1", nil, false},
	} {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: c.cn}, DNSNames: c.dns}
		if got := certifies(cert, "n1"); got != c.want {
			t.Errorf("%s %v: %v", c.cn, c.dns, got)
		}
	}
}
