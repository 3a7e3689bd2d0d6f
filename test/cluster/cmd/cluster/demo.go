package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/demo"
)

func (a *app) demo() *cobra.Command {
	return &cobra.Command{
		Use: "demo", Short: "Show Berth at work, on the cluster that runs or on a new one",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			begun := time.Now()
			c, err := a.withBerth(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out)
			if err := demo.Run(cmd.Context(), c, a.out); err != nil {
				return err
			}
			down := "make down"
			if a.dir != "" {
				down = "cluster down --dir " + c.Dir()
			}
			fmt.Fprintf(a.out, "\nThat was all, after %.0f s. %s", time.Since(begun).Seconds(), demo.LookAround(c, down))
			return nil
		},
	}
}

// withBerth is a cluster with Berth as it is in the work tree: the one that
// runs, or a new one.
func (a *app) withBerth(ctx context.Context) (*cluster.Cluster, error) {
	c, err := cluster.Start(ctx, cluster.Options{Dir: a.dir, Out: a.out, Berth: true})
	if errors.Is(err, cluster.ErrRuns) {
		fmt.Fprintln(a.out, "the cluster runs already; bringing Berth up to date on it")
		if c, err = a.attach(); err != nil {
			return nil, err
		}
		_, err = c.LoadBerth(ctx)
	}
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := c.InstallBerth(ctx); err != nil {
		return nil, err
	}
	fmt.Fprintf(a.out, "Berth is installed from its Helm chart, %.1f s\n", time.Since(begun).Seconds())
	return c, nil
}
