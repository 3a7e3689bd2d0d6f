package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
)

// Limits of what a carved volume adds to a pod's start, and the image that pods
// are of, which is on every node.
const (
	podP50   = 300.0  // ms
	podP99   = 1000.0 // ms
	podImage = "localhost/busybox:1"
)

// stages are the moments of one pod's start, in the order of podStages; those
// of the claim are missing of a pod without one.
type stages map[string]time.Time

const (
	stageLabel    = "the claim has its node"    // the label, which the agent waits for
	stageVolume   = "the PV is there"           // made by the agent
	stageBound    = "the claim is bound"        // by the controller manager
	stageAssigned = "the pod has its node"      // by the scheduler
	stageProcess  = "the pod's process runs"    // by the clock of its first line of log
	stageRunning  = "the pod is Running in API" // the figure that has the limit
)

var podStages = []string{stageLabel, stageVolume, stageBound, stageAssigned, stageProcess, stageRunning}

// startPods measures a claim and a pod with it against the same pod with an
// emptyDir. The kinds take turns, so that all meet the same machine.
func (b *bench) startPods(ctx context.Context, condition string) (figures []Figure, err error) {
	c, err := b.startCarving(ctx, b.member())
	if err != nil {
		return nil, err
	}
	defer func() { err = joinEnd(err, c) }()
	kinds := []string{"", BareLater, CarvedLater, CarvedNow}
	took := map[string]map[string][]float64{"": {}, BareLater: {}, CarvedLater: {}, CarvedNow: {}}
	for i := range b.pairs + 1 { // the first one warms up
		for _, class := range kinds {
			s, begun, err := c.startPod(ctx, fmt.Sprintf("pod-%d", i), class)
			if err != nil {
				return figures, err
			}
			for _, stage := range podStages {
				if at, ok := s[stage]; ok && i > 0 {
					took[class][stage] = append(took[class][stage], milliseconds(at.Sub(begun)))
				}
			}
		}
		if i > 0 && i%10 == 0 {
			b.say("pods: %d of %d of each kind; Running after p50 %.0f ms with an emptyDir, %.0f ms (%s), %.0f ms (%s), %.0f ms (%s)", i, b.pairs,
				percentile(took[""][stageRunning], 50), percentile(took[BareLater][stageRunning], 50), BareLater, percentile(took[CarvedLater][stageRunning], 50), CarvedLater,
				percentile(took[CarvedNow][stageRunning], 50), CarvedNow)
		}
	}
	empty := took[""]
	instant := took[BareLater]
	for _, percent := range []float64{50, 99} {
		f := shown(fmt.Sprintf("p%.0f against a hostPath PV made at once", percent), condition, "ms",
			[]float64{percentile(took[CarvedLater][stageRunning], percent)}, []float64{percentile(instant[stageRunning], percent)})
		f.BerthRounds, f.BareRounds = took[CarvedLater][stageRunning], instant[stageRunning]
		figures = append(figures, f)
	}
	for _, kind := range []struct{ class, words string }{{CarvedLater, "WaitForFirstConsumer"}, {CarvedNow, "Immediate"}} {
		with := took[kind.class]
		name := fmt.Sprintf("claim + pod → Running, %s", kind.words)
		for _, p := range []struct{ percent, limit float64 }{{50, podP50}, {99, podP99}} {
			f := added(fmt.Sprintf("%s, p%.0f", name, p.percent), condition, "ms",
				[]float64{percentile(with[stageRunning], p.percent)}, []float64{percentile(empty[stageRunning], p.percent)}, p.limit)
			f.BerthRounds, f.BareRounds = with[stageRunning], empty[stageRunning]
			figures = append(figures, f)
		}
		for _, stage := range podStages[:len(podStages)-1] {
			var bare []float64
			if of := map[bool]map[string][]float64{true: instant, false: empty}[kind.class == CarvedLater]; len(of[stage]) > 0 {
				bare = []float64{percentile(of[stage], 50)}
			}
			f := shown("p50 until "+stage, condition, "ms", []float64{percentile(with[stage], 50)}, bare)
			f.BerthRounds, f.BareRounds = with[stage], nil
			figures = append(figures, f)
		}
	}
	return figures, nil
}

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
