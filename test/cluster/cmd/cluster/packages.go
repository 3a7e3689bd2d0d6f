package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/internal/preflight"
)

// packages installs what the cluster and the tests on real disks need of
// Debian, before either starts.
func (a *app) packages() *cobra.Command {
	var vm bool
	cmd := &cobra.Command{
		Use: "packages", Short: "Install the Debian packages that are missing",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			missing, err := preflight.MissingPackages(cmd.Context(), vm)
			if err != nil || len(missing) == 0 {
				return err
			}
			fmt.Fprintf(a.out, "installing Debian packages: %s\n", strings.Join(missing, " "))
			return preflight.Install(cmd.Context(), missing)
		},
	}
	cmd.Flags().BoolVar(&vm, "vm", false, "with what test/vm needs")
	return cmd
}

// debian gives test/vm, another module, the root directory it asks for.
func (a *app) debian() *cobra.Command {
	return &cobra.Command{
		Use: "debian PACKAGE...", Short: "Make an archive of a minimal Debian with packages, unless it is cached, and print its path",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := cluster.Debian(cmd.Context(), args)
			if err == nil {
				fmt.Fprintln(a.out, path)
			}
			return err
		},
	}
}
