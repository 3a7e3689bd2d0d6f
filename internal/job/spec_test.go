package job

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/berth-storage/berth/internal/config"
)

func testSpec() Spec {
	return Spec{PV: "local-pv-1", UID: "pv-uid", Node: "node-1", Hostname: "host-1", HostDir: "/mnt/raw", MountDir: "/mnt/in", Entry: "sda",
		Identity: "wwid:1", Image: "berth:1", Command: []string{"/scripts/shred.sh", "3"}, Timeout: time.Hour,
		Tolerations: []config.Toleration{{Key: "k", Operator: "Exists", Effect: "NoExecute", Seconds: new(int64(7))}}}
}

// TestBuild is the contract with what people know from the established
// provisioner, and what Berth adds to it.
func TestBuild(t *testing.T) {
	j := testSpec().build("berth", time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
	if j.Name != "cleanup-local-pv-1" || j.Namespace != "berth" {
		t.Errorf("it is %s/%s", j.Namespace, j.Name)
	}
	wantMap(t, "labels", j.Labels, map[string]string{"kubernetes.io/hostname": "node-1", "pv": "local-pv-1", "pvuuid": "pv-uid", "app.kubernetes.io/managed-by": "berth"})
	wantMap(t, "annotations", j.Annotations, map[string]string{"device": "/mnt/in/sda", "start-time": "2026-01-02T03:04:05.000000006Z", "berth.storage/identity": "wwid:1"})
	if *j.Spec.BackoffLimit != 0 || *j.Spec.ActiveDeadlineSeconds != 3600 || *j.Spec.TTLSecondsAfterFinished != 86400 {
		t.Errorf("it is bounded by %d, %d, %d", *j.Spec.BackoffLimit, *j.Spec.ActiveDeadlineSeconds, *j.Spec.TTLSecondsAfterFinished)
	}
	pod := j.Spec.Template.Spec
	wantMap(t, "node selector", pod.NodeSelector, map[string]string{"kubernetes.io/hostname": "host-1"})
	if pod.RestartPolicy != "Never" || *pod.AutomountServiceAccountToken {
		t.Errorf("restart policy %s, service account token %v", pod.RestartPolicy, *pod.AutomountServiceAccountToken)
	}
	if len(pod.Tolerations) != 1 || pod.Tolerations[0].Key != "k" || pod.Tolerations[0].Operator != "Exists" || pod.Tolerations[0].Effect != "NoExecute" || *pod.Tolerations[0].TolerationSeconds != 7 {
		t.Errorf("tolerations %v", pod.Tolerations)
	}
	c := pod.Containers[0]
	if len(pod.Containers) != 1 || c.Name != "cleaner" || c.Image != "berth:1" || strings.Join(c.Command, " ") != "/scripts/shred.sh 3" || !*c.SecurityContext.Privileged || c.TerminationMessagePolicy != "FallbackToLogsOnError" {
		t.Errorf("container %+v", c)
	}
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	wantMap(t, "environment", env, map[string]string{"LOCAL_PV_BLKDEVICE": "/mnt/in/sda", "BERTH_IDENTITY": "wwid:1"})
	paths := map[string]string{}
	for i, v := range pod.Volumes {
		if c.VolumeMounts[i].Name != v.Name {
			t.Errorf("volume %s is mounted as %s", v.Name, c.VolumeMounts[i].Name)
		}
		paths[v.HostPath.Path] = c.VolumeMounts[i].MountPath
	}
	wantMap(t, "volumes", paths, map[string]string{"/mnt/raw": "/mnt/in", "/dev": "/dev"})
	if memory := c.Resources.Limits.Memory(); memory.IsZero() || c.Resources.Requests.Memory().Cmp(*memory) > 0 || c.Resources.Requests.Cpu().IsZero() {
		t.Errorf("resources %v", c.Resources)
	}
}

func wantMap(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: %s is %q, want %q", what, k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestLongNames: names and labels stay what Kubernetes takes, and distinct.
func TestLongNames(t *testing.T) {
	seen := map[string]bool{}
	for _, pv := range []string{
		"local-pv-1", strings.Repeat("a", 55), strings.Repeat("a", 56), strings.Repeat("a", 57),
		strings.Repeat("a", 38) + "." + strings.Repeat("b", 50), strings.Repeat("a", 37) + ".-" + strings.Repeat("c", 200),
	} {
		s := testSpec()
		s.PV, s.Node = pv, strings.Repeat("n", 100)
		j := s.build("berth", time.Now())
		if len(j.Name) > 63 || len(validation.IsDNS1123Subdomain(j.Name)) > 0 || seen[j.Name] || j.Name != Name(pv) {
			t.Errorf("PV %s has Job %s", pv, j.Name)
		}
		seen[j.Name] = true
		for k, v := range j.Labels {
			if problems := validation.IsValidLabelValue(v); len(problems) > 0 {
				t.Errorf("label %s=%s: %v", k, v, problems)
			}
		}
		if len(pv) <= 55 && j.Name != "cleanup-"+pv {
			t.Errorf("PV %s has Job %s", pv, j.Name)
		}
	}
}
