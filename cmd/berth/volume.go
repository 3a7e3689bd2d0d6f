package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/control"
	"github.com/berth-storage/berth/internal/standin"
)

// askPatience is how long a person waits for the agent's answer: it takes longer
// than that only while the API server does not answer the agent either.
const askPatience = time.Minute

// volumeCommand lists a node's volumes and decides over those that are held back.
func volumeCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "volume",
		Short: "List this node's volumes, and decide over those that are held back",
		Long: `The agent of this node answers; run this in its pod:

  kubectl -n NAMESPACE exec POD -- berth volume list

A quarantined volume is held back until a person decides: release, republish or
wipe. One whose pool is lost can be forgotten. Each says what it is about to do
before it does it.`,
		Args: cobra.NoArgs,
		RunE: group,
	}
	cmd.PersistentFlags().StringVar(&dir, "state-dir", "", "the agent's state directory (default: where the agent has it)")
	client := func() *control.Client { return control.NewClient(control.SocketPath(stateDirOf(dir))) }
	cmd.AddCommand(volumeListCommand(client), volumeShowCommand(client))
	for _, d := range decisions {
		cmd.AddCommand(decisionCommand(d, client))
	}
	return cmd
}

// stateDirOf is where the agent's socket is to be looked for. Standing in for
// the established provisioner, the agent chooses by its configuration.
func stateDirOf(dir string) string {
	if dir != "" {
		return dir
	}
	if _, err := os.Lstat(control.SocketPath(api.StateDir)); err == nil {
		return api.StateDir
	}
	if cfg, _, err := (standin.Dir{Path: standin.DefaultDir}).Load(); err == nil {
		dir, _ := stateDir(cfg.Classes)
		return dir
	}
	return api.StateDir
}

// noAgent explains an error where it is that no agent answers.
func noAgent(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w\nNo agent runs here; run this in the agent's pod: kubectl -n NAMESPACE exec POD -- berth volume list", err)
	}
	return err
}

func volumeListCommand(client func() *control.Client) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the volumes of this node",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			volumes, err := client().Volumes(cmd.Context())
			if err != nil {
				return noAgent(err)
			}
			if output == "json" {
				return printJSON(cmd, volumes)
			}
			for _, v := range volumes {
				printVolume(cmd.OutOrStdout(), v)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "json, or nothing for people")
	return cmd
}

func volumeShowCommand(client func() *control.Client) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one volume",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			v, err := client().Volume(cmd.Context(), args[0])
			if err != nil {
				return noAgent(err)
			}
			if output == "json" {
				return printJSON(cmd, v)
			}
			printDetails(cmd.OutOrStdout(), v)
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "json, or nothing for people")
	return cmd
}

func checkOutput(output string) error {
	if output != "" && output != "json" {
		return fmt.Errorf("--output %q: only json is allowed", output)
	}
	return nil
}

func printJSON(cmd *cobra.Command, v any) error {
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetIndent("", "  ")
	return e.Encode(v)
}
