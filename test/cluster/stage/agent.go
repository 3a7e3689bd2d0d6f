//go:build cluster

package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pods are the agents' pods, of all nodes.
func (e *Stage) pods(ctx context.Context) []corev1.Pod {
	pods, err := e.C.Client().CoreV1().Pods(e.agents.Namespace).List(ctx, metav1.ListOptions{LabelSelector: e.agents.Selector})
	if err != nil {
		e.Errorf("listing agents: %v", err)
		return nil
	}
	return pods.Items
}

// Agent is the agent's pod on a node.
func (e *Stage) Agent(node string) corev1.Pod {
	e.Helper()
	for _, p := range e.pods(e.Ctx) {
		if p.Spec.NodeName == node && p.DeletionTimestamp == nil {
			return p
		}
	}
	e.Fatalf("no agent on %s", node)
	return corev1.Pod{}
}

// Restarts is what changes when the agent's container or pod is another one.
func (e *Stage) Restarts(node string) string {
	e.Helper()
	p := e.Agent(node)
	n := int32(0)
	for _, c := range p.Status.ContainerStatuses {
		n += c.RestartCount
	}
	return fmt.Sprintf("%s restarted %d times", p.UID, n)
}

// AgentsReady waits until every node has a ready agent of the latest kind.
func (e *Stage) AgentsReady() {
	e.Helper()
	e.Until("the agents to be ready", func(ctx context.Context) error {
		set, err := e.C.Client().AppsV1().DaemonSets(e.agents.Namespace).List(ctx, metav1.ListOptions{LabelSelector: e.agents.Selector})
		if err != nil {
			return err
		}
		for _, d := range set.Items {
			if s := d.Status; s.ObservedGeneration != d.Generation || s.NumberReady < s.DesiredNumberScheduled || s.UpdatedNumberScheduled < s.DesiredNumberScheduled {
				return fmt.Errorf("%d of %d are ready, %d up to date", s.NumberReady, s.DesiredNumberScheduled, s.UpdatedNumberScheduled)
			}
		}
		return nil
	})
}

// Said is the last line of a node's agent with these texts; empty if it has
// none.
func (e *Stage) Said(node string, texts ...string) (last string) {
	e.Helper()
	p := e.Agent(node)
	log, err := e.C.Client().CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{}).DoRaw(e.Ctx)
	e.Must(err)
	for line := range strings.Lines(string(log)) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			last = strings.TrimSpace(line)
		}
	}
	return last
}

// Says waits until a node's agent has said a line with these texts.
func (e *Stage) Says(node string, texts ...string) {
	e.Helper()
	e.Until(fmt.Sprintf("the agent on %s to say %q", node, texts), func(context.Context) error {
		if e.Said(node, texts...) == "" {
			return errors.New("its log has no such line")
		}
		return nil
	})
}

// HeldBack waits until the agent says that it holds a volume back.
func (e *Stage) HeldBack(node string, pv *corev1.PersistentVolume) {
	e.Helper()
	e.Says(node, "Quarantined", pv.Name)
}

// Nudge makes the kubelets look at the agents' pods, and with them at their
// ConfigMap, now and not within the next minute.
func (e *Stage) Nudge(ctx context.Context) {
	for _, p := range e.pods(ctx) {
		_, err := e.C.Client().CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.MergePatchType,
			fmt.Appendf(nil, `{"metadata":{"annotations":{"nudged":"%d"}}}`, time.Now().UnixNano()), metav1.PatchOptions{})
		if err != nil {
			e.Errorf("nudging %s: %v", p.Name, err)
		}
	}
}
