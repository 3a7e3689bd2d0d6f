//go:build cluster

package berthtest

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// TestClusterCarvedAgentRestarts ends an agent while volumes of its node are
// mounted, claims wait for theirs and others are given up: pods keep what they
// have, and everything else goes on when the agent is back.
func TestClusterCarvedAgentRestarts(t *testing.T) {
	e := beginCarved(t)
	const node = "node-1"
	pod := func(name, script string) workload.Pod {
		return workload.Pod{Name: name, Node: node, Script: script + stay, Claims: []workload.Claim{
			{Name: name, Class: cluster.PoolClass, Bytes: 32 * mib},
			{Name: name + "-raw", Class: cluster.PoolClass, Bytes: 32 * mib, Block: true},
		}}
	}
	e.Must(e.Space.Create(e.Ctx, pod("holder", `echo began; until [ -e /holder/go ]; do echo a >/holder/a || exit 1; sleep 0.1; done
dd if=/dev/zero of=/dev/holder-raw bs=1M count=1 conv=notrunc,fsync 2>/dev/null && echo kept $(cat /holder/a)`)))
	leaver := pod("leaver", "echo began")
	e.Must(e.Space.Create(e.Ctx, leaver))
	for _, name := range []string{"holder", "leaver"} {
		e.said(name, "began")
	}
	before, err := e.Space.Placement(e.Ctx, "holder")
	e.Must(err)

	agent, now := e.Agent(node), int64(0)
	var comers []string
	for i := range 4 {
		name := fmt.Sprintf("comer-%d", i)
		e.Must(e.Space.Create(e.Ctx, pod(name, fmt.Sprintf("echo a >/%s/a && echo began", name))))
		comers = append(comers, name)
		if i == 1 { // some of the claims are under way, others find nobody
			e.Must(e.C.Client().CoreV1().Pods(agent.Namespace).Delete(e.Ctx, agent.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
		}
	}
	e.Must(e.Space.Drop(e.Ctx, leaver))
	for _, name := range comers {
		e.said(name, "began")
	}
	e.AgentsReady()
	if again := e.Agent(node); again.UID == agent.UID {
		t.Error("the agent is the one that was deleted")
	}
	_, err = e.C.Kubectl(e.Ctx, "-n", e.Space.Name, "exec", "holder", "--", "touch", "/holder/go")
	e.Must(err)
	if got := e.said("holder", "kept"); got != "a" {
		t.Errorf("the pod that ran through it read %q", got)
	}
	if at, err := e.Space.Placement(e.Ctx, "holder"); err != nil || at.UID != before.UID {
		t.Errorf("the pod that had a volume is another one: %v (%v)", at, err)
	}
}
