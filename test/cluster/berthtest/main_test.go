//go:build cluster

package berthtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/berth-storage/berth/test/cluster"
)

// shared is the cluster of all tests.
var shared *cluster.Cluster

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "preparing the cluster:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if dir := os.Getenv("BERTH_CLUSTER"); dir != "" {
		if shared, err = cluster.Attach(dir); err != nil {
			return 0, err
		}
		return m.Run(), nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir := filepath.Join(os.TempDir(), "berth-test-cluster") // one place, so that the next run finds what a killed one left
	if err := cluster.Down(dir); err != nil && !errors.Is(err, cluster.ErrNone) {
		return 0, err
	}
	defer func() { err = errors.Join(err, down(dir)) }()
	if shared, err = cluster.Start(ctx, cluster.Options{Dir: dir, Out: os.Stdout, Berth: true}); err != nil {
		return 0, err
	}
	if err := shared.InstallBerth(ctx); err != nil {
		return 0, err
	}
	ended := make(chan int, 1)
	go func() { ended <- m.Run() }()
	select {
	case code = <-ended:
		return code, nil
	case <-ctx.Done():
		return 0, errors.New("interrupted")
	}
}

func down(dir string) error {
	begun := time.Now()
	err := cluster.Down(dir)
	if errors.Is(err, cluster.ErrNone) {
		return nil
	}
	fmt.Printf("the cluster is gone, after %.1f s\n", time.Since(begun).Seconds())
	return err
}
