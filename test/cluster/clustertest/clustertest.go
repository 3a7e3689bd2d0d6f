//go:build cluster

// Package clustertest gives the tests of a package one cluster to share: its
// own, taken away at the end, or one that runs already.
//
// It has no tests and no assertions.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/berth-storage/berth/test/cluster"
)

// Env names a variable with the directory, or the kubeconfig, of a running
// cluster for the tests to use and to leave running.
const Env = "BERTH_CLUSTER"

var shared *cluster.Cluster

// Main runs a package's tests: in TestMain, os.Exit(clustertest.Main(m, o)).
// The cluster is taken away after failures, panics of tests and Ctrl-C too;
// KEEP=1 in the environment leaves it for a look.
func Main(m *testing.M, o cluster.Options) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if path := os.Getenv(Env); path != "" {
		c, err := cluster.Attach(path)
		if err != nil {
			return fail(err)
		}
		shared = c
		return m.Run()
	}
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "berth-cluster-")
		if err != nil {
			return fail(fmt.Errorf("making the cluster's directory: %w", err))
		}
		o.Dir = dir
	}
	o.Out = os.Stderr
	down := func() {
		if err := cluster.Down(o.Dir); err != nil && !errors.Is(err, cluster.ErrNone) {
			code = fail(err)
		}
	}
	c, err := cluster.Start(ctx, o)
	if err != nil {
		code = fail(err)
		down()
		return code
	}
	if o.Berth {
		if err := c.InstallBerth(ctx); err != nil {
			code = fail(err)
			down()
			return code
		}
	}
	shared = c
	// A test that hangs must not keep the cluster after Ctrl-C.
	over := make(chan struct{})
	go func() {
		select {
		case <-over:
		case <-ctx.Done():
			if os.Getenv("KEEP") == "" {
				down()
			}
			os.Exit(130)
		}
	}()
	code = m.Run()
	close(over)
	if os.Getenv("KEEP") != "" {
		fmt.Fprintln(os.Stderr, "the cluster still runs in", o.Dir)
		return code
	}
	down()
	return code
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "clustertest:", err)
	return 1
}

// Get is the cluster, and a context that ends with the test, or shortly before
// the time for all tests is over.
func Get(t testing.TB) (context.Context, *cluster.Cluster) {
	t.Helper()
	if shared == nil {
		t.Fatal("there is no cluster: TestMain must call clustertest.Main")
	}
	ctx := t.Context()
	if tt, ok := t.(*testing.T); ok {
		if deadline, ok := tt.Deadline(); ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, deadline.Add(-10*time.Second))
			t.Cleanup(cancel)
		}
	}
	return ctx, shared
}

// Eventually asks until ok says nil, and fails the test with its last error
// after the patience. It is for conditions in the cluster; there is nothing to
// be woken by.
func Eventually(t testing.TB, patience time.Duration, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %v", patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
