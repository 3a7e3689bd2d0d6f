package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-storage/berth/internal/config"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check the agent's configuration, translate another into it, or print an example",
		Args:  cobra.NoArgs,
		RunE:  group,
	}
	cmd.AddCommand(configCheckCommand(), configExampleCommand(), configTranslateCommand())
	return cmd
}

func configCheckCommand() *cobra.Command {
	var allowedDirs []string
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say whether a configuration is valid, and everything that is wrong with it",
		Long: `Check reads a configuration as the agent does and prints what is wrong with
it, a line for each problem: file, line, field, what was found and what is
allowed. It asks neither the machine nor a cluster, so it does not know
whether the directories and the StorageClasses exist.`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("reading configuration: %w", err)
			}
			agent, err := config.Decode(args[0], data, allowedDirs)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: valid, %s\n", args[0], contents(agent))
			return err
		},
	}
	cmd.Flags().StringArrayVar(&allowedDirs, "allow-dir", nil, "a `directory` that each mountDir and each pool's path must be at or beneath; may be repeated; without it any will do")
	return cmd
}

// oneFile wants exactly the argument FILE.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("found %d arguments; allowed: one, the FILE\nSee %q", len(args), cmd.CommandPath()+" --help")
	}
	return nil
}

func configExampleCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "example",
		Short: "Print a valid configuration with every field and what it means",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Example)
			return err
		},
	}
}

// contents counts what a configuration has.
func contents(a *config.Agent) string {
	var parts []string
	count := func(n int, one, more string) {
		switch {
		case n == 1:
			parts = append(parts, "1 "+one)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", n, more))
		}
	}
	count(len(a.Classes), "class", "classes")
	count(len(a.Pools), "pool", "pools")
	return strings.Join(parts, ", ")
}
