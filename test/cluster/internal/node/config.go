package node

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// environment of the node's components: its own programs first, so that a
// containerd or shim installed on the machine is never taken.
var environment = []string{
	"PATH=" + ProgramDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root",
}

// components are the programs of a node, with their arguments.
var components = map[string]func(Spec) []string{
	"containerd": func(Spec) []string {
		return []string{"--config", ConfigDir + "/containerd.toml"}
	},
	"kubelet": func(s Spec) []string {
		return []string{
			"--config", ConfigDir + "/kubelet.yaml", "--kubeconfig", ConfigDir + "/kubelet.kubeconfig",
			"--hostname-override", s.Name, "--node-ip", s.Address, "--cert-dir", "/var/lib/kubelet/pki",
		}
	},
	"kube-proxy": func(s Spec) []string {
		return []string{"--config", ConfigDir + "/kube-proxy.yaml", "--hostname-override", s.Name}
	},
}

// Settings fill the configuration files of a node.
type Settings struct {
	Cgroup      string // the node's folder in every hierarchy
	PodRange    string
	Snapshotter string
	PauseImage  string
	CA          []byte
}

// WriteConfig writes the node's configuration files into dir.
func WriteConfig(dir string, s Settings) error {
	files := map[string]string{
		"containerd.toml":       fmt.Sprintf(containerdConfig, s.Snapshotter, s.PauseImage),
		"kubelet.yaml":          fmt.Sprintf(kubeletConfig, s.Cgroup, int(Lease.Seconds())),
		"kube-proxy.yaml":       kubeProxyConfig,
		"net.d/10-ptp.conflist": fmt.Sprintf(cniConfig, s.PodRange),
		"ca.crt":                string(s.CA),
	}
	if err := os.MkdirAll(filepath.Join(dir, "net.d"), 0o755); err != nil {
		return fmt.Errorf("writing the node's configuration: %w", err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing the node's configuration: %w", err)
		}
	}
	return nil
}

// restrict_oom_score_adj: without the right to lower its own score, runc ends
// with "can't get final child's PID from pipe: EOF".
const containerdConfig = `version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "/opt/node/net.d"
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        SystemdCgroup = false

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "%s"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "%s"
`

// Lease is how long a word of the kubelet's counts. It renews its Lease four
// times as often.
const Lease = 8 * time.Second

// The kubelet reports more often than a stock one (10 s), so that tests see
// the loss and the return of a node within seconds. Images are never removed:
// there is no registry to get them from again. A container that has ended runs
// again after a second, and not after ten, twenty and so on.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: /opt/node/ca.crt}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /%s
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
crashLoopBackOff: {maxContainerRestartPeriod: 1s}
evictionHard: {memory.available: 50Mi, nodefs.available: "1%%", nodefs.inodesFree: "1%%", imagefs.available: "1%%"}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
imageMaximumGCAge: 0s
nodeLeaseDurationSeconds: %d
nodeStatusUpdateFrequency: 2s
oomScoreAdj: 0
resolvConf: ""
runtimeRequestTimeout: 30s
shutdownGracePeriod: 0s
syncFrequency: 1s
volumePluginDir: /var/lib/kubelet/volumeplugins
`

// conntrack settings belong to the machine, and stay as they are.
const kubeProxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: /opt/node/kube-proxy.kubeconfig}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
oomScoreAdj: 0
`

const cniConfig = `{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": true,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni",
        "ranges": [[{"subnet": "%s"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`
