package workload

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// WaitSaid waits until a pod's log has a line that starts with a word, and
// returns the rest of that line. A pod that ends without saying it is an error
// at once.
func (s *Space) WaitSaid(ctx context.Context, pod, word string) (said string, err error) {
	var ended error
	err = Until(ctx, fmt.Sprintf("pod %s to say %q", pod, word), func(ctx context.Context) error {
		p, err := s.Client.CoreV1().Pods(s.Name).Get(ctx, pod, metav1.GetOptions{})
		if err != nil {
			return err
		}
		over := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		if p.Status.Phase != corev1.PodRunning && !over {
			return errors.New(Describe(p))
		}
		log, err := s.Logs(ctx, pod)
		if err != nil {
			return err
		}
		for line := range strings.Lines(log) {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), word); ok && (rest == "" || rest[0] == ' ') {
				said = strings.TrimSpace(rest)
				return nil
			}
		}
		if over {
			ended = fmt.Errorf("pod %s ended (%s) without saying %q; it said %q", pod, p.Status.Phase, word, log)
			return nil
		}
		return fmt.Errorf("it runs and has said %q", log)
	})
	return said, errors.Join(err, ended)
}

// WaitDone waits until a pod's script has ended, and returns what it printed.
// A script that failed is an error.
func (s *Space) WaitDone(ctx context.Context, pod string) (string, error) {
	var failed bool
	err := Until(ctx, "pod "+pod+" to end", func(ctx context.Context) error {
		p, err := s.Client.CoreV1().Pods(s.Name).Get(ctx, pod, metav1.GetOptions{})
		if err != nil {
			return err
		}
		failed = p.Status.Phase == corev1.PodFailed
		if !failed && p.Status.Phase != corev1.PodSucceeded {
			return errors.New(Describe(p))
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	log, err := s.Logs(ctx, pod)
	if err == nil && failed {
		err = fmt.Errorf("pod %s failed; it said %q", pod, log)
	}
	return log, err
}

// WaitBack waits until a pod of that name runs that is not the one with the
// given UID.
func (s *Space) WaitBack(ctx context.Context, pod string, old types.UID) error {
	return Until(ctx, "pod "+pod+" to come back", func(ctx context.Context) error {
		p, err := s.Client.CoreV1().Pods(s.Name).Get(ctx, pod, metav1.GetOptions{})
		switch {
		case err != nil:
			return err
		case p.UID == old:
			return errors.New("the old one is still there")
		case p.Status.Phase != corev1.PodRunning:
			return errors.New(Describe(p))
		}
		return nil
	})
}

// Placed is where a pod is, and with which volume.
type Placed struct {
	Pod, Node, Claim, PV string
	UID                  types.UID // the pod's
}

// Placement reads where a pod is. Its first claim must be bound.
func (s *Space) Placement(ctx context.Context, pod string) (Placed, error) {
	p, err := s.Client.CoreV1().Pods(s.Name).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return Placed{}, fmt.Errorf("reading pod %s: %w", pod, err)
	}
	at := Placed{Pod: pod, Node: p.Spec.NodeName, UID: p.UID}
	for _, v := range p.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			at.Claim = v.PersistentVolumeClaim.ClaimName
			break
		}
	}
	c, err := s.Client.CoreV1().PersistentVolumeClaims(s.Name).Get(ctx, at.Claim, metav1.GetOptions{})
	if err != nil {
		return Placed{}, fmt.Errorf("reading claim %s: %w", at.Claim, err)
	}
	if c.Status.Phase != corev1.ClaimBound {
		return Placed{}, fmt.Errorf("claim %s is %s, not Bound", at.Claim, c.Status.Phase)
	}
	at.PV = c.Spec.VolumeName
	return at, nil
}

// Logs is what a pod has printed.
func (s *Space) Logs(ctx context.Context, pod string) (string, error) {
	data, err := s.Client.CoreV1().Pods(s.Name).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(ctx)
	if err != nil {
		return "", fmt.Errorf("reading the log of pod %s: %w", pod, err)
	}
	return string(data), nil
}

// DeletePod deletes a pod and does not wait until it is gone.
func (s *Space) DeletePod(ctx context.Context, pod string) error {
	err := s.Client.CoreV1().Pods(s.Name).Delete(ctx, pod, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting pod %s: %w", pod, err)
	}
	return nil
}

// Drop deletes a pod and its claims and waits until they are gone.
func (s *Space) Drop(ctx context.Context, p Pod) error {
	if err := s.DeletePod(ctx, p.Name); err != nil {
		return err
	}
	for _, c := range p.Claims {
		if err := s.DropClaim(ctx, c.Name); err != nil {
			return err
		}
	}
	return nil
}

// DropClaim deletes a claim and waits until it is gone, which is when no pod has
// it any more.
func (s *Space) DropClaim(ctx context.Context, claim string) error {
	claims := s.Client.CoreV1().PersistentVolumeClaims(s.Name)
	if err := claims.Delete(ctx, claim, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting claim %s: %w", claim, err)
	}
	return Until(ctx, "claim "+claim+" to be gone", func(ctx context.Context) error {
		_, err := claims.Get(ctx, claim, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
}

// Describe says in a line what a pod waits for.
func Describe(p *corev1.Pod) string {
	for _, c := range p.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Reason != "ContainerCreating" {
			return fmt.Sprintf("%s: %s: %s", p.Status.Phase, w.Reason, w.Message)
		}
		if t := c.State.Terminated; t != nil {
			return fmt.Sprintf("%s: its script ended with %d", p.Status.Phase, t.ExitCode)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Status == corev1.ConditionFalse && c.Message != "" {
			return fmt.Sprintf("%s: %s", p.Status.Phase, c.Message)
		}
	}
	if p.Spec.NodeName != "" {
		return fmt.Sprintf("%s on %s", p.Status.Phase, p.Spec.NodeName)
	}
	return string(p.Status.Phase)
}
