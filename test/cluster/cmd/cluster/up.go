package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-storage/berth/test/cluster"
)

func (a *app) up() *cobra.Command {
	var o cluster.Options
	noBerth := false
	cmd := &cobra.Command{
		Use: "up", Short: "Build what is missing, start the cluster and install Berth",
		Long: "Build what is missing, start the cluster and install Berth. If the cluster runs already, only bring Berth up to date with the work tree.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			begun := time.Now()
			o.Dir, o.Out, o.Berth = a.dir, a.out, !noBerth
			if o.Nodes == 0 {
				o.Nodes = cluster.NoNodes
			}
			c, err := cluster.Start(cmd.Context(), o)
			if errors.Is(err, cluster.ErrRuns) {
				fmt.Fprintln(a.out, "the cluster runs already")
				if c, err = a.attach(); err == nil && !noBerth {
					_, err = c.LoadBerth(cmd.Context())
				}
			}
			if err != nil {
				return a.hint(err)
			}
			if !noBerth {
				fmt.Fprintln(a.out, "installing Berth from its chart …")
				if err := c.InstallBerth(cmd.Context()); err != nil {
					return err
				}
			}
			fmt.Fprintf(a.out, "the cluster runs, after %.1f s\n  export KUBECONFIG=%s\n  %s get nodes,pv\n",
				time.Since(begun).Seconds(), c.Kubeconfig(), c.Program("kubectl"))
			return nil
		},
	}
	cmd.Flags().IntVar(&o.Nodes, "nodes", 2, "how many nodes; 0 for a control plane alone")
	cmd.Flags().BoolVar(&noBerth, "no-berth", false, "do not build and install Berth")
	cmd.Flags().BoolVar(&o.StockControllers, "stock-controllers", false,
		"leave the controller manager its own limit of 20 requests a second")
	return cmd
}

// hint says how to go on after a start that got as far as making something.
func (a *app) hint(err error) error {
	dir, pathErr := a.path()
	if pathErr != nil {
		return err
	}
	if _, statErr := os.Stat(filepath.Join(dir, "state.json")); statErr != nil {
		return err
	}
	return fmt.Errorf("%w\nthe logs are in %s; `cluster down` takes away what was started", err, filepath.Join(dir, "logs"))
}
