package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-storage/berth/test/cluster"
)

func (a *app) up() *cobra.Command {
	var o cluster.Options
	cmd := &cobra.Command{
		Use: "up", Short: "Build what is missing and start the cluster",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			begun := time.Now()
			o.Dir, o.Out = a.dir, a.out
			c, err := cluster.Start(cmd.Context(), o)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "the cluster runs, after %.1f s\n  export KUBECONFIG=%s\n  %s get nodes\n",
				time.Since(begun).Seconds(), c.Kubeconfig(), c.Program("kubectl"))
			return nil
		},
	}
	cmd.Flags().IntVar(&o.Nodes, "nodes", 2, "how many nodes")
	cmd.Flags().BoolVar(&o.StockControllers, "stock-controllers", false,
		"leave the controller manager its own limit of 20 requests a second")
	return cmd
}
