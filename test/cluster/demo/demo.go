// Package demo tells, on a running cluster with Berth, the story of what Berth
// does: disks are found and published, claimed, written to, released, wiped and
// published anew; volumes are carved out of pools for claims, grown, and given
// back. Every line of it is checked before it is printed.
//
// It starts no cluster and installs nothing: package cluster does. Its figures
// are those of one run on a machine that does other things too; they are told
// and not judged. The benchmarks are the place for that.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/pvwatch"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// Names that the story uses. Nothing else in the cluster is touched.
const (
	Namespace = "berth-demo"
	lateDisk  = "disk-late" // the one that comes while all else runs
)

// The classes that the cluster's Berth is installed with.
const (
	fast = cluster.FastClass
	raw  = cluster.RawClass
)

// patience is how long one step of the story may take.
const patience = time.Minute

// story is one telling.
type story struct {
	*teller
	c     *cluster.Cluster
	space *workload.Space
	pvs   *pvwatch.Recorder

	disks  []disk                     // that are to be published
	placed []workload.Placed          // the pods of the StatefulSet, then the one with the block device
	used   []*corev1.PersistentVolume // what those pods had
	late   chan error                 // ends when the late disk is published
	took   time.Duration              // for that

	pooled          []string          // the nodes with a pool
	before          rooms             // of those, before anything is carved
	carved          []workload.Placed // the pods that have volumes out of pools
	filler, waiting workload.Pod      // what fills a node, and what waits for its room
}

// Run tells the story once. What an earlier telling left, or one that was
// interrupted, is taken away first. The error is a *Failure, with all that a
// reader needs, unless the context has ended.
func Run(ctx context.Context, c *cluster.Cluster, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &story{teller: newTeller(out), c: c}
	go s.run(ctx.Done())
	for _, step := range []func(context.Context) error{
		s.prepare, s.find, s.use, s.comeBack, s.writeRaw, s.arrive, s.release, s.readAgain,
		s.pools, s.carve, s.grow, s.fill, s.makeRoom, s.giveBack,
	} {
		limited, done := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %s", patience))
		err := step(limited)
		done()
		if err == nil {
			continue
		}
		doing, took := s.stop()
		if ctx.Err() != nil {
			return fmt.Errorf("telling the story: %w; told again, it takes away what is left of this one", context.Cause(ctx))
		}
		return s.failure(doing, took, err)
	}
	s.stop()
	return nil
}

// Failure says what a step of the story found in place of what it tells.
type Failure struct {
	Doing string        // what was going on
	Took  time.Duration // until it failed
	Err   error         // what was expected, and what was seen
	Look  []string      // where to look
}

func (f *Failure) Error() string {
	text := fmt.Sprintf("after %.1f s of %s:\n  %v\nwhere to look:", f.Took.Seconds(), f.Doing, f.Err)
	for _, l := range f.Look {
		text += "\n  " + l
	}
	return text
}

func (f *Failure) Unwrap() error { return f.Err }

// mismatch is an expectation that was not met.
type mismatch struct{ want, got string }

func (m *mismatch) Error() string {
	return "expected: " + m.want + "\n  seen:     " + strings.ReplaceAll(m.got, "\n", "\n            ")
}

// unmet makes an error of an expectation that was not met.
func unmet(want string, got any) error { return &mismatch{want, fmt.Sprint(got)} }

// failure makes a Failure of a step's error. One that is no mismatch yet was
// an error while waiting for something, which says what was expected.
func (s *story) failure(doing string, took time.Duration, err error) *Failure {
	if m := (*mismatch)(nil); !errors.As(err, &m) {
		err = unmet("success", err)
	}
	return &Failure{Doing: doing, Took: took, Err: err, Look: []string{
		environment(s.c),
		"kubectl -n " + Namespace + " describe pods",
		"kubectl get pv",
		berthLog,
		"ls " + s.c.LogDir() + "  # Kubernetes' own logs",
	}}
}

// berthLog shows what the agents say.
const berthLog = "kubectl -n " + cluster.BerthNamespace + " logs --prefix -l app.kubernetes.io/name=berth"

// environment is the shell command after which kubectl finds the cluster.
func environment(c *cluster.Cluster) string {
	return "export KUBECONFIG=" + c.Kubeconfig() + " PATH=" + filepath.Dir(c.Program("kubectl")) + ":$PATH"
}

// LookAround says what to do with the cluster after the story.
func LookAround(c *cluster.Cluster, down string) string {
	return fmt.Sprintf(`The cluster keeps running. To look around:

  %s
  kubectl get pv
  %s

%s stops it and removes all that it made.
`, environment(c), berthLog, down)
}
