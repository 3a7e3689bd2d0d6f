package recovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
)

// Options is what a controller is started with.
type Options struct {
	Classes []string // names of the StorageClasses whose volumes are cleaned up
	Workers int      // how many volumes are worked on at a time
	// Delay is from when a node is first seen gone to when the claims and volumes
	// on it are deleted.
	Delay time.Duration
	// StaleInterval is how often the volumes of lost nodes are looked at, besides
	// at every change of them.
	StaleInterval time.Duration
	Resync        time.Duration // how often all volumes are looked at; 0 for never
	Listen        string        // address for metrics and health; "" for none
	MetricsPath   string

	LeaderElect bool
	Namespace   string // of the Lease
	Identity    string // of this process in the Lease, unlike any other's
	// LeaseDuration, RenewDeadline and RetryPeriod are as for Kubernetes' own
	// controllers; each has to be longer than the next.
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration

	// Beside makes the other job that this process does while it leads, nil for
	// none. Its requests and metrics are counted and served with this one's.
	Beside func(*rest.Config, prometheus.Registerer) (Job, error)

	Kube *rest.Config
	Log  *slog.Logger
}

// A Job is work that one process does at a time.
type Job interface {
	Watch(ctx context.Context) // keeps what it knows up to date until ctx ends, leading or not
	Synced() bool              // it knows all that it has to
	Lead(ctx context.Context)  // works until ctx ends, and returns when nothing is under way any more
}

// Check returns what is wrong with the options that come from flags, all of it.
func (o Options) Check() error {
	var all []error
	wrong := func(is bool, format string, args ...any) {
		if is {
			all = append(all, fmt.Errorf(format, args...))
		}
	}
	wrong(len(o.Classes) == 0 && o.Beside == nil, "--storageclass-names: none is given, so there would be nothing to do; allowed: names of StorageClasses, with commas between, or --placement")
	wrong(slices.ContainsFunc(o.Classes, func(c string) bool { return strings.TrimSpace(c) != c || c == "" }),
		"--storageclass-names %q: a name is empty or has a space at an end", strings.Join(o.Classes, ","))
	wrong(o.Workers < 1 || o.Workers > 1000, "--worker-threads %d: allowed: 1 to 1000", o.Workers)
	wrong(o.Delay < 0, "--pvc-deletion-delay %s: allowed: 0s or more", o.Delay)
	wrong(o.StaleInterval < time.Second, "--stale-pv-discovery-interval %s: allowed: 1s or more", o.StaleInterval)
	wrong(o.Resync < 0, "--resync %s: allowed: 0s, for never, or more", o.Resync)
	wrong(!strings.HasPrefix(o.MetricsPath, "/") || o.MetricsPath == "/healthz" || o.MetricsPath == "/readyz" || strings.ContainsAny(o.MetricsPath, "{} "),
		"--metrics-path %q: allowed: a path that begins with /, without braces and spaces, not /healthz or /readyz", o.MetricsPath)
	if o.LeaderElect {
		wrong(o.Namespace == "", "--namespace: empty; the lease of the leader has to be in one")
		wrong(o.LeaseDuration < time.Second, "--leader-elect-lease-duration %s: allowed: 1s or more", o.LeaseDuration)
		wrong(o.RenewDeadline >= o.LeaseDuration, "--leader-elect-renew-deadline %s: allowed: less than --leader-elect-lease-duration, %s", o.RenewDeadline, o.LeaseDuration)
		wrong(o.RetryPeriod >= o.RenewDeadline, "--leader-elect-retry-period %s: allowed: less than --leader-elect-renew-deadline, %s", o.RetryPeriod, o.RenewDeadline)
		wrong(o.RetryPeriod <= 0, "--leader-elect-retry-period %s: allowed: more than 0s", o.RetryPeriod)
	}
	return errors.Join(all...)
}
