package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-storage/berth/test/cluster/internal/preflight"
)

// packages installs what the cluster and the tests on real disks need of
// Debian, before either starts.
func (a *app) packages() *cobra.Command {
	return &cobra.Command{
		Use: "packages", Short: "Install the Debian packages that are missing",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			missing, err := preflight.MissingPackages(cmd.Context())
			if err != nil || len(missing) == 0 {
				return err
			}
			fmt.Fprintf(a.out, "installing Debian packages: %s\n", strings.Join(missing, " "))
			return preflight.Install(cmd.Context(), missing)
		},
	}
}
