package main

import (
	"strings"
	"testing"
)

func TestEstablished(t *testing.T) {
	for _, c := range []struct{ name, args, node, want string }{
		// The provisioner.
		{"/local-provisioner", "", "n1", "agent --stand-in"},
		{"/local-provisioner", "", "", "agent --stand-in"},
		{"/usr/local/bin/berth", "", "n1", "agent --stand-in"},
		{"berth", "-listen-address=:9090 -metrics-path /m -discovery-period=1m --config-sync-period 9s", "n1",
			"agent --stand-in --listen=:9090 --metrics-path=/m --discovery-period=1m --config-sync-period=9s"},
		{"berth", "-v=4 -logtostderr -alsologtostderr=true -stderrthreshold INFO --vmodule=a=2 -log_backtrace_at=", "n1", "agent --stand-in"},
		{"berth", "--v=5 --logtostderr --metrics-path=/m", "n1", "agent --stand-in --metrics-path=/m --log-level=debug"},
		{"berth", "-v 10", "n1", "agent --stand-in --log-level=debug"},
		{"berth", "-v", "n1", "agent --stand-in --v"},
		{"berth", "-v=high", "n1", "agent --stand-in --v=high"},
		{"berth", "-unknown", "n1", "agent --stand-in --unknown"},
		{"local-provisioner", "extra", "n1", "agent --stand-in extra"},
		{"local-provisioner", "--help", "", "agent --stand-in --help"},
		// The node clean-up controller.
		{"berth", "--storageclass-names=a,b --pvc-deletion-delay=60s --stale-pv-discovery-interval=10s", "",
			"controller --storageclass-names=a,b --pvc-deletion-delay=60s --stale-pv-discovery-interval=10s"},
		{"berth", "--listen-address=:1 --worker-threads 3 --v=6", "n1", "controller --listen-address=:1 --worker-threads=3 --log-level=debug"},
		// The cleaners.
		{"/scripts/quick_reset.sh", "", "", "clean signatures"},
		{"/scripts/quick_reset.sh", "x", "", "clean signatures"},
		{"/scripts/shred.sh", "", "", "clean shred"},
		{"/scripts/shred.sh", "2 3", "n1", "clean shred 2"},
		{"/scripts/dd_zero.sh", "2", "", "clean zero 2"},
		{"/scripts/blkdiscard.sh", "", "", "clean erase"},
		{"/scripts/fsclean.sh", "", "", "clean contents"},
		{"/scripts/shred.sh", "-h", "", "clean --help"},
		// Berth itself.
		{"berth", "", "", ""},
		{"berth", "--help", "n1", "--help"},
		{"berth", "-h", "n1", "-h"},
		{"berth", "--metrics-path=/m", "", "--metrics-path=/m"},
		{"berth", "agent --config x", "n1", "agent --config x"},
		{"berth", "version", "n1", "version"},
		{"berth", "controller --storageclass-names=a", "n1", "controller --storageclass-names=a"},
		{"berth", "- x", "n1", "- x"},
		{"other", "", "n1", ""},
	} {
		env := func(name string) string { return map[string]string{"MY_NODE_NAME": c.node}[name] }
		got := strings.Join(established(c.name, strings.Fields(c.args), env), " ")
		if got != c.want {
			t.Errorf("%s %s (node %q): %q, want %q", c.name, c.args, c.node, got, c.want)
		}
	}
}
