package supervisor

import (
	"fmt"
	"os"
	"strconv"

	"github.com/berth-storage/berth/test/cluster/internal/pki"
	"github.com/berth-storage/berth/test/cluster/internal/process"
)

// Ranges of addresses inside the cluster; its namespaces keep them from the
// machine's, so every cluster has the same.
const (
	serviceRange   = "10.96.0.0/16"
	serviceAddress = "10.96.0.1"
)

// makeKeys makes all certificates and kubeconfig files of the control plane.
func (s *Supervisor) makeKeys() error {
	dir := s.path("pki")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making keys: %w", err)
	}
	var err error
	if s.authority, err = pki.NewAuthority(dir); err != nil {
		return err
	}
	if err := pki.Signer(dir, "service-accounts"); err != nil {
		return err
	}
	const admins = "system:masters"
	err = s.authority.IssueFiles("apiserver", "kube-apiserver", nil,
		s.state.ServerAddress(), serviceAddress, "127.0.0.1", "localhost",
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
	if err != nil {
		return err
	}
	if err := s.authority.IssueFiles("kubelet-client", "kube-apiserver", []string{admins}); err != nil {
		return err
	}
	for path, user := range map[string]string{
		s.path("pki", "controller-manager.kubeconfig"): "system:kube-controller-manager",
		s.path("pki", "scheduler.kubeconfig"):          "system:kube-scheduler",
	} {
		if err := s.authority.Kubeconfig(path, s.server(), user); err != nil {
			return err
		}
	}
	return s.authority.Kubeconfig(s.path("kubeconfig"), s.server(), "admin", admins)
}

func (s *Supervisor) server() string { return "https://" + s.state.ServerAddress() + ":6443" }

// startControlPlane starts etcd, the API server and, once it answers, what
// needs it. All listen in the cluster's own network namespace, so the usual
// ports are free.
func (s *Supervisor) startControlPlane() error {
	if err := s.start("etcd",
		"--data-dir", s.path("etcd"), "--unsafe-no-fsync", "--log-level", "warn",
		"--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
		"--listen-peer-urls", "http://127.0.0.1:2380", "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
		"--initial-cluster", "default=http://127.0.0.1:2380",
	); err != nil {
		return err
	}
	if err := s.start("kube-apiserver",
		"--etcd-servers", "http://127.0.0.1:2379",
		// Loopback is refused as the endpoint of the service "kubernetes".
		"--advertise-address", s.state.ServerAddress(), "--secure-port", "6443",
		"--tls-cert-file", s.path("pki/apiserver.crt"), "--tls-private-key-file", s.path("pki/apiserver.key"),
		"--client-ca-file", s.path("pki/ca.crt"),
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", s.path("pki/service-accounts.pub"),
		"--service-account-signing-key-file", s.path("pki/service-accounts.key"),
		"--service-cluster-ip-range", serviceRange,
		"--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction",
		"--allow-privileged",
		// These two are what `kubectl logs` and `exec` need.
		"--kubelet-preferred-address-types", "InternalIP",
		"--kubelet-client-certificate", s.path("pki/kubelet-client.crt"),
		"--kubelet-client-key", s.path("pki/kubelet-client.key"),
	); err != nil {
		return err
	}
	failing := func() string { return s.group.Failing(mostEnds) }
	if err := await("kube-apiserver", failing, s.state.LogDir(), s.apiAnswers); err != nil {
		return err
	}
	close(s.apiReady)
	s.enter(Nodes)
	if err := s.start("kube-controller-manager", s.controllerFlags()...); err != nil {
		return err
	}
	return s.start("kube-scheduler",
		"--kubeconfig", s.path("pki/scheduler.kubeconfig"), "--leader-elect=false", "--bind-address", "127.0.0.1")
}

func (s *Supervisor) controllerFlags() []string {
	flags := []string{
		"--kubeconfig", s.path("pki/controller-manager.kubeconfig"), "--leader-elect=false", "--bind-address", "127.0.0.1",
		"--use-service-account-credentials", "--allocate-node-cidrs=false",
		"--service-account-private-key-file", s.path("pki/service-accounts.key"),
		"--root-ca-file", s.path("pki/ca.crt"),
		"--cluster-signing-cert-file", s.path("pki/ca.crt"), "--cluster-signing-key-file", s.path("pki/ca.key"),
		// Stock is 5 s and 50 s; tests of lost nodes need not wait so long.
		"--node-monitor-period", "1s", "--node-monitor-grace-period", "12s",
	}
	if s.state.StockControllers {
		return flags
	}
	// With the stock 20 requests a second (burst 30) the controller manager,
	// not the provisioner, decides how fast many volumes become Available or
	// lose their pv-protection finalizer. Figures taken here must say which it was.
	rate := s.state.ControllerRate
	if rate == 0 {
		rate = 100
	}
	return append(flags, "--kube-api-qps", strconv.Itoa(rate), "--kube-api-burst", strconv.Itoa(2*rate))
}

// start starts one program of the control plane.
func (s *Supervisor) start(name string, args ...string) error {
	log, err := process.OpenLog(s.state.LogDir(), name)
	if err != nil {
		return err
	}
	return s.group.Start(process.Component{
		Name: name, Path: s.state.Programs[name], Args: args, Log: log,
		Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"},
	})
}
