package workload

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// image is on every node of a cluster: a busybox.
const image = "localhost/busybox:1"

// Claim describes a claim.
type Claim struct {
	Name  string
	Class string
	Block bool   // a raw device in place of a filesystem
	Mode  string // the access mode; ReadWriteOnce if empty
	Bytes int64  // asked for; 1 MiB if zero
	PV    string // the volume it must have; any if empty
}

// Object is the claim for the API.
func (c Claim) Object() *corev1.PersistentVolumeClaim {
	mode := corev1.PersistentVolumeFilesystem
	if c.Block {
		mode = corev1.PersistentVolumeBlock
	}
	access := corev1.ReadWriteOnce
	if c.Mode != "" {
		access = corev1.PersistentVolumeAccessMode(c.Mode)
	}
	bytes := c.Bytes
	if bytes == 0 {
		bytes = 1 << 20
	}
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: c.Name},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &c.Class, VolumeMode: &mode, VolumeName: c.PV,
			AccessModes: []corev1.PersistentVolumeAccessMode{access},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{
				corev1.ResourceStorage: *resource.NewQuantity(bytes, resource.BinarySI),
			}},
		},
	}
}

// Pod describes a pod with one container that runs a shell script.
type Pod struct {
	Name    string
	Script  string
	Claims  []Claim // mounted at /CLAIM, or a block device at /dev/CLAIM
	FSGroup int64   // 0: none; the script then runs as root, else as user 1000
	Node    string  // that it must be on; any if empty
}

// Object is the pod for the API. Its script finds its name and UID in POD_NAME
// and POD_UID. It is not restarted, so that its end can be seen.
func (p Pod) Object() *corev1.Pod {
	grace, token := int64(1), false
	c := corev1.Container{
		Name: "main", Image: image, ImagePullPolicy: corev1.PullNever,
		Command: []string{"/bin/sh", "-c", p.Script},
		Env: []corev1.EnvVar{
			fieldEnv("POD_NAME", "metadata.name"), fieldEnv("POD_UID", "metadata.uid"),
		},
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: p.Name},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: &grace,
			AutomountServiceAccountToken:  &token,
		},
	}
	if p.Node != "" {
		pod.Spec.NodeSelector = map[string]string{corev1.LabelHostname: p.Node}
	}
	if p.FSGroup != 0 {
		user := int64(1000)
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: &p.FSGroup, RunAsUser: &user, RunAsGroup: &user}
	}
	for _, claim := range p.Claims {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: claim.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name},
		}})
		if claim.Block {
			c.VolumeDevices = append(c.VolumeDevices, corev1.VolumeDevice{Name: claim.Name, DevicePath: "/dev/" + claim.Name})
		} else {
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: claim.Name, MountPath: "/" + claim.Name})
		}
	}
	pod.Spec.Containers = []corev1.Container{c}
	return pod
}

func fieldEnv(name, field string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: field}}}
}

// CreateClaims makes claims.
func (s *Space) CreateClaims(ctx context.Context, claims ...Claim) error {
	for _, c := range claims {
		if _, err := s.Client.CoreV1().PersistentVolumeClaims(s.Name).Create(ctx, c.Object(), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("making claim %s: %w", c.Name, err)
		}
	}
	return nil
}

// Create makes pods and their claims.
func (s *Space) Create(ctx context.Context, pods ...Pod) error {
	for _, p := range pods {
		if err := s.CreateClaims(ctx, p.Claims...); err != nil {
			return err
		}
		if err := s.CreatePod(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// CreatePod makes a pod whose claims are there.
func (s *Space) CreatePod(ctx context.Context, p Pod) error {
	if _, err := s.Client.CoreV1().Pods(s.Name).Create(ctx, p.Object(), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making pod %s: %w", p.Name, err)
	}
	return nil
}

// CreateSet makes a StatefulSet whose pods each have one claim, from a
// template. Its pods are made together, not one after the other.
func (s *Space) CreateSet(ctx context.Context, pods int32, p Pod) error {
	template := p.Object()
	template.Spec.RestartPolicy = corev1.RestartPolicyAlways
	template.Spec.Volumes = nil
	labels := map[string]string{"app": p.Name}
	set := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: p.Name},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &pods, ServiceName: p.Name, PodManagementPolicy: appsv1.ParallelPodManagement,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: template.Spec},
		},
	}
	for _, c := range p.Claims {
		set.Spec.VolumeClaimTemplates = append(set.Spec.VolumeClaimTemplates, *c.Object())
	}
	if _, err := s.Client.AppsV1().StatefulSets(s.Name).Create(ctx, set, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making StatefulSet %s: %w", p.Name, err)
	}
	return nil
}
