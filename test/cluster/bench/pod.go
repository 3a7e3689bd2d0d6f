package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podImage is what pods are of; it is on every node.
const podImage = "localhost/busybox:1"

func claimOrNone(name, class string) []string {
	if class == "" {
		return nil
	}
	return []string{name}
}

// why adds to an error what the events of an object say.
func (b *bench) why(ctx context.Context, name string, err error) error {
	events, failed := b.kube.CoreV1().Events(space).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
	if failed != nil {
		return err
	}
	for _, e := range events.Items {
		err = fmt.Errorf("%w\n%s %s: %s", err, e.InvolvedObject.Kind, e.Reason, e.Message)
	}
	return err
}

// dropPod deletes a pod with its claim and waits until they and the volume are
// gone.
func (c *carving) dropPod(ctx context.Context, name string) error {
	grace := int64(0)
	err := c.kube.CoreV1().Pods(space).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &grace})
	if err != nil {
		return fmt.Errorf("deleting pod %s: %w", name, err)
	}
	err = c.kube.CoreV1().PersistentVolumeClaims(space).Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("deleting claim %s: %w", name, err)
	}
	if err := c.pods.none(ctx); err != nil {
		return err
	}
	if err := c.claims.none(ctx); err != nil {
		return err
	}
	c.pvs.mu.Lock()
	for pv := range c.pvs.objects {
		if strings.HasPrefix(pv, "bare-") { // nobody else removes it
			err = errors.Join(err, c.kube.CoreV1().PersistentVolumes().Delete(ctx, pv, metav1.DeleteOptions{}))
		}
	}
	c.pvs.mu.Unlock()
	if err != nil {
		return fmt.Errorf("deleting the bare client's PV: %w", err)
	}
	return c.pvs.none(ctx)
}

func (b *bench) createPod(ctx context.Context, pods ...*corev1.Pod) error {
	err := parallel(ctx, pods, func(pod *corev1.Pod) error {
		_, err := b.kube.CoreV1().Pods(space).Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("making pods: %w", err)
	}
	return nil
}

// podOf is a pod that says a word and sleeps, with claims mounted, or with an
// emptyDir where it has none.
func podOf(name string, claims ...string) *corev1.Pod {
	grace, token := int64(0), false
	container := corev1.Container{Name: "main", Image: podImage, ImagePullPolicy: corev1.PullNever, Command: []string{"/bin/sh", "-c", "echo up; exec sleep 3600"}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: &grace, AutomountServiceAccountToken: &token,
	}}
	volume := func(name string, source corev1.VolumeSource) {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source})
		container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: "/" + name})
	}
	for _, claim := range claims {
		volume(claim, corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}})
	}
	if len(claims) == 0 {
		volume("empty", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	}
	pod.Spec.Containers = []corev1.Container{container}
	return pod
}
