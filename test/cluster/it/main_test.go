//go:build cluster

// Package it tests the cluster itself, on a real one: that it does what any
// Kubernetes does, and that nothing is left of it. It does not test Berth.
package it

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/clustertest"
)

func TestMain(m *testing.M) { os.Exit(clustertest.Main(m, cluster.Options{})) }

// runPod starts a busybox pod on a node and waits until it is ready.
func runPod(ctx context.Context, t *testing.T, c *cluster.Cluster, name, node, script string) *corev1.Pod {
	t.Helper()
	grace := int64(0)
	pods := c.Client().CoreV1().Pods("default")
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			NodeSelector:                  map[string]string{corev1.LabelHostname: node},
			TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{
				Name: "main", Image: cluster.BusyboxImage, ImagePullPolicy: corev1.PullNever,
				Command: []string{"sh", "-c", script},
			}},
		},
	}
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test may have taken the cluster away, and its addresses with it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = pods.Delete(ctx, name, metav1.DeleteOptions{})
	})
	clustertest.Eventually(t, podPatience, func() (err error) {
		if pod, err = pods.Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		return podReady(pod)
	})
	return pod
}

func podReady(pod *corev1.Pod) error {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("pod %s is not ready: %s %+v", pod.Name, pod.Status.Phase, pod.Status.ContainerStatuses)
}

// restarts is how often the pod's container was started again.
func restarts(pod *corev1.Pod) int32 {
	if len(pod.Status.ContainerStatuses) == 0 {
		return 0
	}
	return pod.Status.ContainerStatuses[0].RestartCount
}
