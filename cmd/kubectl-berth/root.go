package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// root is the command line without a command: it prints its help.
func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "kubectl-berth",
		Short:         "Look at Berth, the local storage of a Kubernetes cluster",
		SilenceErrors: true,
		SilenceUsage:  true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl berth"},
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.AddCommand(versionCommand())
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w\nSee %q", err, cmd.CommandPath()+" --help")
	})
	return cmd
}
