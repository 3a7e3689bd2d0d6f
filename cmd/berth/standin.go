package main

import (
	"cmp"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-storage/berth/internal/agent"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/standin"
)

// standInFlags are the agent's flags that only a stand-in for the established
// static provisioner has.
type standInFlags struct {
	configDir               string
	discovery, configPeriod time.Duration
}

func (s *standInFlags) add(cmd *cobra.Command, o *agent.Options) {
	f := cmd.Flags()
	f.BoolVar(&o.StandIn, "stand-in", false, "stand in for the established static provisioner, with its configuration and environment")
	f.StringVar(&s.configDir, "config-dir", standin.DefaultDir, "with --stand-in: directory of the configuration, a file for each key")
	f.DurationVar(&s.discovery, "discovery-period", 0, "no effect")
	f.DurationVar(&s.configPeriod, "config-sync-period", 0, "no effect")
	for _, name := range []string{"stand-in", "config-dir", "discovery-period", "config-sync-period"} {
		_ = f.MarkHidden(name) // an error is about a name that is not there
	}
}

// ignored are the given flags that have no effect.
func (s *standInFlags) ignored(cmd *cobra.Command) (names []string) {
	for _, name := range []string{"discovery-period", "config-sync-period"} {
		if cmd.Flags().Changed(name) {
			names = append(names, name)
		}
	}
	return names
}

// take fills in what the established provisioner's manifests say by its
// environment, and by what they leave out.
func (s *standInFlags) take(cmd *cobra.Command, o *agent.Options) {
	if !cmd.Flags().Changed("node") {
		o.Node = os.Getenv("MY_NODE_NAME")
	}
	if !cmd.Flags().Changed("namespace") {
		o.Namespace = cmp.Or(os.Getenv("MY_NAMESPACE"), "default")
	}
	o.Config = standin.Dir{Path: s.configDir}
	if !cmd.Flags().Changed("state-dir") {
		o.StateDir, o.FindStateDir = "", stateDir
	}
}

func nodeVariable(standIn bool) string {
	if standIn {
		return "MY_NODE_NAME"
	}
	return "NODE_NAME"
}

// stateDir chooses the journal's directory by the machine as it is now.
func stateDir(classes []config.Class) (string, string) {
	mounts, err := disk.ReadMounts(os.DirFS("/"))
	if err != nil {
		mounts = &disk.Mounts{} // it then looks as if nothing outlived the container
	}
	return standin.StateDir(standin.ThisHost(mounts, os.Getenv("KUBERNETES_SERVICE_HOST") != ""), classes)
}
