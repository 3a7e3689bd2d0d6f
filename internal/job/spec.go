package job

import (
	"crypto/sha256"
	"fmt"
	"path"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/publish"
)

// Spec is one try to wipe one block device.
type Spec struct {
	PV, UID     string // name and UID of the released PersistentVolume
	Node        string // the node's name
	Hostname    string // the value of the node's label kubernetes.io/hostname
	HostDir     string // the discovery directory as the node sees it
	MountDir    string // the same as the program in the Job sees it
	Entry       string // the device's name in it
	Identity    disk.ID
	Image       string
	Command     []string
	Timeout     time.Duration // of the Job, its time in the queue included; at least a second
	Tolerations []config.Toleration
	// Tell, if not nil, is called with what the Job is waiting for when it has
	// waited for long, and with "" when that is over.
	Tell func(message string)
}

// What the established static provisioner calls things on its Jobs, which
// people's scripts look for.
const (
	container  = "cleaner"
	prefix     = "cleanup-"
	labelPV    = "pv"
	labelPVUID = "pvuuid"
	annDevice  = "device"
	annStart   = "start-time"
	labelOwner = "app.kubernetes.io/managed-by"
)

// keepFor is how long a Job that has ended, and its log, are kept when nobody
// takes it away.
const keepFor = 24 * time.Hour

// nameLimit is what Kubernetes allows for the value of a label, and so for the
// name of a Job, whose pods carry it in one.
const nameLimit = 63

// Name is the name of the Job for a PersistentVolume of that name.
func Name(pv string) string { return short(prefix + pv) }

// short cuts a name that is longer than nameLimit and makes it distinct by a
// hash of the whole.
func short(name string) string {
	if len(name) <= nameLimit {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	hash := fmt.Sprintf("-%x", sum[:8])
	return strings.TrimRight(name[:nameLimit-len(hash)], "-.") + hash
}

// build makes the Job. Its pod fails once and for all: the agent tries again,
// and the failed pod's log stays until then.
func (s Spec) build(namespace string, now time.Time) *batchv1.Job {
	labels := map[string]string{
		corev1.LabelHostname: publish.NodeLabelValue(s.Node),
		labelPV:              short(s.PV),
		labelPVUID:           s.UID,
		labelOwner:           "berth",
	}
	device := path.Join(s.MountDir, s.Entry)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: Name(s.PV), Namespace: namespace, Labels: labels,
			Annotations: map[string]string{
				annDevice:       device,
				annStart:        now.Format(time.RFC3339Nano),
				api.AnnIdentity: string(s.Identity),
			},
		},
		Spec: batchv1.JobSpec{
			BackoffLimit:            new(int32(0)),
			ActiveDeadlineSeconds:   new(max(1, int64(s.Timeout/time.Second))),
			TTLSecondsAfterFinished: new(int32(keepFor / time.Second)),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       s.pod(device),
			},
		},
	}
}

func (s Spec) pod(device string) corev1.PodSpec {
	return corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		// By the label's value, as the PersistentVolume's affinity: it need not be
		// the node's name.
		NodeSelector:                 map[string]string{corev1.LabelHostname: s.Hostname},
		Tolerations:                  tolerations(s.Tolerations),
		AutomountServiceAccountToken: new(false),
		EnableServiceLinks:           new(false),
		Containers: []corev1.Container{{
			Name:            container,
			Image:           s.Image,
			Command:         s.Command,
			Env:             []corev1.EnvVar{{Name: api.EnvDevice, Value: device}, {Name: api.EnvIdentity, Value: string(s.Identity)}},
			SecurityContext: &corev1.SecurityContext{Privileged: new(true)},
			VolumeMounts:    []corev1.VolumeMount{{Name: "disks", MountPath: s.MountDir}, {Name: "dev", MountPath: "/dev"}},
			// A wipe waits for its disk, and what it writes through the page cache
			// is written out at the limit.
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
			},
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		}},
		Volumes: []corev1.Volume{hostPath("disks", s.HostDir), hostPath("dev", "/dev")},
	}
}

func hostPath(name, dir string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}}}
}

func tolerations(list []config.Toleration) []corev1.Toleration {
	var out []corev1.Toleration
	for _, t := range list {
		out = append(out, corev1.Toleration{Key: t.Key, Operator: corev1.TolerationOperator(t.Operator), Value: t.Value,
			Effect: corev1.TaintEffect(t.Effect), TolerationSeconds: t.Seconds})
	}
	return out
}
