package bench

import (
	"bytes"
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
)

// startPod makes a claim of a class, none for "", and a pod with it, waits until
// the pod runs, and takes both away again.
func (c *carving) startPod(ctx context.Context, name, class string) (s stages, begun time.Time, err error) {
	s = stages{}
	var mu sync.Mutex // guards s while watches note what they see
	note := func(stage string, is bool, at time.Time) {
		mu.Lock()
		defer mu.Unlock()
		if _, ok := s[stage]; !ok && is {
			s[stage] = at
		}
	}
	c.claims.onEach(func(o *corev1.PersistentVolumeClaim, at time.Time) {
		note(stageLabel, o.Labels[api.LabelNode] != "", at)
		note(stageBound, o.Status.Phase == corev1.ClaimBound, at)
		if class == BareLater && o.Annotations[annSelectedNode] != "" && o.Spec.VolumeName == "" {
			c.answer(ctx, o)
		}
	})
	c.pvs.onEach(func(_ *corev1.PersistentVolume, at time.Time) { note(stageVolume, true, at) })
	c.pods.onEach(func(o *corev1.Pod, at time.Time) {
		note(stageAssigned, o.Spec.NodeName != "", at)
		note(stageRunning, o.Status.Phase == corev1.PodRunning, at)
	})
	begun = time.Now()
	if class != "" {
		if err := c.createClaims(ctx, claimOf(name, class, pieceBytes)); err != nil {
			return s, begun, err
		}
	}
	if err := c.createPod(ctx, podOf(name, claimOrNone(name, class)...)); err != nil {
		return s, begun, err
	}
	_, err = c.pods.until(ctx, "a pod to run", func(all map[string]*corev1.Pod) bool {
		return all[name] != nil && all[name].Status.Phase == corev1.PodRunning
	})
	if err != nil {
		return s, begun, c.why(ctx, name, err)
	}
	c.pods.onEach(nil)
	c.claims.onEach(nil)
	c.pvs.onEach(nil)
	err = c.await(ctx, "a pod's first line", func() error {
		log, err := c.kube.CoreV1().Pods(space).GetLogs(name, &corev1.PodLogOptions{Timestamps: true}).DoRaw(ctx)
		if err != nil {
			return err
		}
		stamp, _, _ := bytes.Cut(log, []byte(" "))
		s[stageProcess], err = time.Parse(time.RFC3339Nano, string(stamp))
		return err
	})
	if err != nil {
		return s, begun, err
	}
	return s, begun, c.dropPod(ctx, name)
}

// annSelectedNode is where the scheduler says which node it has chosen.
const annSelectedNode = "volume.kubernetes.io/selected-node"

// answer is the quickest provisioner that there can be: it makes a PV that needs
// nothing made, as soon as the scheduler has chosen. So it shows what Kubernetes
// takes for a claim, whoever makes the volume. A claim that has one is no error.
func (c *carving) answer(ctx context.Context, claim *corev1.PersistentVolumeClaim) {
	kind := corev1.HostPathDirectory
	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "bare-" + string(claim.UID)}, Spec: corev1.PersistentVolumeSpec{
		Capacity: claim.Spec.Resources.Requests, AccessModes: claim.Spec.AccessModes, StorageClassName: BareLater,
		PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		ClaimRef:                      &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
		PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/tmp", Type: &kind}},
	}}
	if _, err := c.kube.CoreV1().PersistentVolumes().Create(ctx, pv, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		c.say("the bare client's PV could not be made: %v", err) // and the pod never runs
	}
}
