package demo

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/test/cluster/workload"
)

// stay is the script of a pod that only has a volume.
const stay = `echo has; trap 'exit 0' TERM; while :; do sleep 0.2; done`

// holder is a pod with a volume of a size, on a node or on any.
func holder(name, node string, bytes int64) workload.Pod {
	return workload.Pod{
		Name: name, Node: node, Script: stay,
		Claims: []workload.Claim{{Name: "data-" + name, Class: carved, Bytes: bytes}},
	}
}

// fill takes all the room of a node. The next pod is placed on another one, and
// one that must be on that node waits.
func (s *story) fill(ctx context.Context) error {
	s.begin("waiting for a node to be full, and for the next pods")
	full := s.carved[0].Node
	left, err := s.look(ctx)
	if err != nil {
		return err
	}
	filler, next := holder("filler", full, left[full]), holder("next", "", asked)
	s.filler, s.waiting = filler, holder("waiting", full, asked)
	if err := s.has(ctx, filler, full); err != nil {
		return err
	}
	all := left[full]
	left[full] = 0
	if err := s.expect(ctx, left); err != nil {
		return err
	}
	if err := s.space.Create(ctx, next, s.waiting); err != nil {
		return err
	}
	if _, err := s.space.WaitSaid(ctx, next.Name, "has"); err != nil {
		return unmet("pod next gets a volume", err)
	}
	at, err := s.space.Placement(ctx, next.Name)
	if err != nil {
		return err
	}
	if at.Node == full {
		return unmet("pod next on another node than "+full+", which is full", at.Node)
	}
	placed, err := s.event(ctx, next.Name, "Scheduled", at.Node)
	if err != nil {
		return err
	}
	refused, err := s.event(ctx, s.waiting.Name, "FailedScheduling", "did not have enough free storage")
	if err != nil {
		return err
	}
	s.tell("pod filler has a volume of all that %s had left, %d bytes. Of the next two pods, one may "+
		"run anywhere, and one nowhere else:", full, all)
	s.note("next     %s", placed)
	s.note("waiting  %s", refused)
	return nil
}

// has creates a pod and waits until it has its volume, on that node.
func (s *story) has(ctx context.Context, p workload.Pod, node string) error {
	if err := s.space.Create(ctx, p); err != nil {
		return err
	}
	if _, err := s.space.WaitSaid(ctx, p.Name, "has"); err != nil {
		return unmet("pod "+p.Name+" gets a volume", err)
	}
	at, err := s.space.Placement(ctx, p.Name)
	if err != nil {
		return err
	}
	if at.Node != node {
		return unmet("pod "+p.Name+" on "+node, at.Node)
	}
	return s.checkCarved(at, p.Claims[0].Bytes)
}

// event waits for an event about a pod that mentions a text.
func (s *story) event(ctx context.Context, pod, reason, text string) (message string, err error) {
	p, err := s.c.Client().CoreV1().Pods(Namespace).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading pod %s: %w", pod, err)
	}
	err = workload.Until(ctx, "an event about pod "+pod, func(ctx context.Context) error {
		// By its UID: an earlier telling's pod of that name is another one.
		events, err := s.c.Client().CoreV1().Events(Namespace).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.uid=" + string(p.UID),
		})
		if err != nil {
			return err
		}
		var others []string
		for _, e := range events.Items {
			if e.Reason == reason && strings.Contains(e.Message, text) {
				message, _, _ = strings.Cut(e.Message, " preemption:")
				return nil
			}
			others = append(others, e.Reason+": "+e.Message)
		}
		return fmt.Errorf("there are %q", others)
	})
	if err != nil {
		return "", unmet(fmt.Sprintf("an event %s about pod %s that says %q", reason, pod, text), err)
	}
	return message, nil
}

// makeRoom deletes what fills the node, and the pod that waits starts.
func (s *story) makeRoom(ctx context.Context) error {
	s.begin("waiting for the room of a deleted claim to be used")
	if err := s.space.Drop(ctx, s.filler); err != nil {
		return err
	}
	if _, err := s.space.WaitSaid(ctx, s.waiting.Name, "has"); err != nil {
		return unmet("pod waiting starts", err)
	}
	at, err := s.space.Placement(ctx, s.waiting.Name)
	if err != nil {
		return err
	}
	if at.Node != s.waiting.Node {
		return unmet("pod waiting on "+s.waiting.Node, at.Node)
	}
	if err := s.checkCarved(at, asked); err != nil {
		return err
	}
	s.tell("filler and its claim were deleted; the pod that waited for its room runs on %s", at.Node)
	return nil
}
