package main

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/berth-storage/berth/internal/placement"
	"github.com/berth-storage/berth/internal/recovery"
)

// namespaceFile is where a pod finds the namespace of its service account.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// controllerCommand cleans up after lost nodes, and places claims. Its flags are the established
// node clean-up controller's, and more.
func controllerCommand() *cobra.Command {
	var o recovery.Options
	var kubeconfig, endpoint, level string
	var placing bool
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Clean up after nodes that are gone, and place claims",
		Long: `Controller deletes the claims that are bound to local or carved volumes of nodes that
are gone, so that their pods can be placed elsewhere, and the PersistentVolumes of
such nodes that are Available, or Released with the reclaim policy Delete. It
does so only for the StorageClasses that are named, and only when the node is
certain, has no Node object, and its kubelet has given no sign of life.

With --placement it also tells each node's agent of the claims that it is to carve
volumes for: those of StorageClasses of the provisioner berth.storage.

One of several controllers works at a time, the others stand by. One that loses
the lease stops at once and ends with status 1, so that its pod is restarted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if placing {
				o.Beside = func(kube *rest.Config, metrics prometheus.Registerer) (recovery.Job, error) {
					return placement.New(placement.Options{Workers: o.Workers, Identity: o.Identity, Log: o.Log}, kube, metrics)
				}
			}
			if err := o.Check(); err != nil {
				return err
			}
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return fmt.Errorf("--log-level %q: one of debug, info, warn, error is allowed", level)
			}
			o.Log = slog.New(newLineHandler(os.Stderr, l))
			klog.SetSlogLogger(o.Log)
			o.Identity = identity()
			var err error
			if o.Kube, err = controllerKube(endpoint, kubeconfig); err != nil {
				return fmt.Errorf("finding the API server: %w", err)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return recovery.Run(ctx, o)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.Classes, "storageclass-names", nil, "names of the StorageClasses whose volumes and claims are cleaned up, with commas between")
	f.BoolVar(&placing, "placement", false, "place claims of StorageClasses of the provisioner berth.storage on nodes")
	f.IntVar(&o.Workers, "worker-threads", 10, "how many volumes, and how many claims, are worked on at a time")
	f.DurationVar(&o.Delay, "pvc-deletion-delay", time.Minute, "how long a node has to be gone before claims and volumes on it are deleted")
	f.DurationVar(&o.StaleInterval, "stale-pv-discovery-interval", 10*time.Second, "how often the volumes of lost nodes are looked at, besides at every change of them")
	f.DurationVar(&o.Resync, "resync", 10*time.Minute, "how often all volumes are looked at; 0 for never")
	f.StringVar(&o.Listen, "listen-address", ":8080", "address of metrics, /healthz and /readyz; empty for none")
	f.StringVar(&o.MetricsPath, "metrics-path", "/metrics", "path of the metrics")
	f.StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig file (default: the pod's service account)")
	f.StringVar(&endpoint, "kube-api-endpoint", "", "URL of the API server, in place of the kubeconfig's")
	f.BoolVar(&o.LeaderElect, "leader-elect", true, "work only while holding the lease; without it, at most one controller may run")
	f.StringVar(&o.Namespace, "namespace", podNamespace(), "namespace of the lease; set by $MY_NAMESPACE or $POD_NAMESPACE, else the pod's")
	f.DurationVar(&o.LeaseDuration, "leader-elect-lease-duration", 15*time.Second, "how long others wait for a leader that does not renew the lease")
	f.DurationVar(&o.RenewDeadline, "leader-elect-renew-deadline", 10*time.Second, "how long a leader tries to renew the lease before it stops")
	f.DurationVar(&o.RetryPeriod, "leader-elect-retry-period", 2*time.Second, "how long to wait between two tries")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func controllerKube(endpoint, kubeconfig string) (*rest.Config, error) {
	if endpoint == "" && kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags(endpoint, kubeconfig)
}

// identity is this process's in the lease: who it is for people, and something
// that no other process has, not even this pod's next container.
func identity() string {
	name := os.Getenv("POD_NAME")
	if name == "" {
		name, _ = os.Hostname() // the rest alone will do
	}
	return name + "_" + strings.ToLower(rand.Text()[:10])
}

func podNamespace() string {
	for _, name := range []string{"MY_NAMESPACE", "POD_NAMESPACE"} {
		if ns := os.Getenv(name); ns != "" {
			return ns
		}
	}
	if data, err := os.ReadFile(namespaceFile); err == nil {
		return strings.TrimSpace(string(data))
	}
	return "default"
}
