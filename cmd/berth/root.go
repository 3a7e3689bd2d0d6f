package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// root is the command line without a command: it prints its help.
func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "berth",
		Short:         "Local storage for Kubernetes",
		Long:          "Berth turns the disks in a cluster's nodes into volumes that pods can claim, and runs their whole life.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          group,
	}
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.AddCommand(agentCommand(), controllerCommand(), cleanCommand(), volumeCommand(), versionCommand(), configCommand())
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w\nSee %q", err, cmd.CommandPath()+" --help")
	})
	return cmd
}

// group is what a command does that only has commands beneath it.
func group(cmd *cobra.Command, _ []string) error { return cmd.Help() }
