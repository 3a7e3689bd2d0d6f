package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/agent"
	"github.com/berth-storage/berth/internal/config"
)

// agentCommand looks after the disks of the node it runs on.
func agentCommand() *cobra.Command {
	var o agent.Options
	var file config.File
	var standIn standInFlags
	var kubeconfig, level string
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Look after the disks of this node",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.StandIn {
				standIn.take(cmd, &o)
			}
			if o.Node == "" {
				return fmt.Errorf("no node name: set --node or the environment variable %s", nodeVariable(o.StandIn))
			}
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return fmt.Errorf("--log-level %q: one of debug, info, warn, error is allowed", level)
			}
			o.Log, o.Version = slog.New(newLineHandler(os.Stderr, l)), buildVersion()
			klog.SetSlogLogger(o.Log)
			if !o.StandIn {
				o.Config = file
			}
			for _, name := range standIn.ignored(cmd) {
				o.Log.Warn("a flag has no effect; Berth looks when something has changed", "flag", "--"+name)
			}
			var err error
			if o.Kube, err = kubeConfig(kubeconfig); err != nil {
				return fmt.Errorf("finding the API server: %w", err)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return agent.Run(ctx, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Node, "node", os.Getenv("NODE_NAME"), "name of this node (default $NODE_NAME)")
	f.StringVar(&file.Path, "config", api.ConfigFile, "configuration file")
	f.StringSliceVar(&file.AllowedDirs, "allow-dir", nil, "directory that this agent was given; discovery directories and pools must lie in one (default: anywhere)")
	f.StringVar(&o.StateDir, "state-dir", api.StateDir, "directory of the journal")
	f.StringVar(&o.KubeletDir, "kubelet-dir", "", "the kubelet's directory, usually "+api.KubeletDir+": volumes out of pools are handed out there; empty for none")
	f.StringVar(&o.Listen, "listen", ":8080", "address of /metrics, /healthz and /readyz; empty for none")
	f.StringVar(&o.MetricsPath, "metrics-path", "/metrics", "path of the metrics")
	f.StringVar(&o.Namespace, "namespace", os.Getenv("POD_NAMESPACE"), "namespace of the Jobs of classes with job: true, and of the objects that say what room there is (default $POD_NAMESPACE)")
	f.StringVar(&o.JobImage, "job-image", os.Getenv("JOB_CONTAINER_IMAGE"), "image of those Jobs (default $JOB_CONTAINER_IMAGE)")
	f.StringVar(&kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig file (default $KUBECONFIG, else the pod's service account)")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	standIn.add(cmd, &o)
	return cmd
}

func kubeConfig(file string) (*rest.Config, error) {
	if file == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", file)
}
