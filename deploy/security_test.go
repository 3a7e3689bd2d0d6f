package deploy

import (
	"cmp"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestEveryPrivilegeHasAReason holds the lists of docs/security.md to the chart:
// neither has a privilege that the other lacks.
func TestEveryPrivilegeHasAReason(t *testing.T) {
	objects := decode(t, render(t, "testdata/everything.values.yaml"))
	agent := one[*appsv1.DaemonSet](t, objects).Spec.Template.Spec
	controller := one[*appsv1.Deployment](t, objects).Spec.Template.Spec
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	for component, pod := range map[string]corev1.PodSpec{"agent": agent, "controller": controller} {
		of := slices.DeleteFunc(slices.Clone(objects), func(o metav1.Object) bool {
			return o.GetLabels()["app.kubernetes.io/component"] != component
		})
		want := privileges(t, pod)
		verbs := map[string]map[string]bool{}
		for _, role := range all[*rbacv1.ClusterRole](of) {
			gather(verbs, role.Rules)
		}
		for _, role := range all[*rbacv1.Role](of) {
			gather(verbs, role.Rules)
		}
		for resource, set := range verbs {
			want[resource+": "+strings.Join(slices.Sorted(maps.Keys(set)), " ")] = true
		}
		_, section, _ := strings.Cut(string(page), "## The "+component+"'s pod\n")
		section, _, _ = strings.Cut(section, "\n## ")
		got := map[string]bool{}
		for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| .+ \\|$").FindAllStringSubmatch(section, -1) {
			got[row[1]] = true
		}
		if !maps.Equal(got, want) {
			t.Errorf("the page gives the %s\n%q, the chart\n%q", component, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
}

// gather adds rules to the verbs by resource, whatever the namespace.
func gather(verbs map[string]map[string]bool, rules []rbacv1.PolicyRule) {
	for _, rule := range rules {
		for _, resource := range rule.Resources {
			if verbs[resource] == nil {
				verbs[resource] = map[string]bool{}
			}
			for _, verb := range rule.Verbs {
				verbs[resource][verb] = true
			}
		}
	}
}

// privileges returns what a pod is given beyond its image: as the page names it.
func privileges(t *testing.T, pod corev1.PodSpec) map[string]bool {
	t.Helper()
	got := map[string]bool{}
	add := func(name string, is bool) {
		if is {
			got[name] = true
		}
	}
	add("hostNetwork: true", pod.HostNetwork)
	add("hostPID: true", pod.HostPID)
	add("hostIPC: true", pod.HostIPC)
	add("shareProcessNamespace: true", pod.ShareProcessNamespace != nil && *pod.ShareProcessNamespace)
	add("automountServiceAccountToken: true", pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken)
	add("no seccompProfile", pod.SecurityContext == nil || pod.SecurityContext.SeccompProfile == nil ||
		pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault)
	paths := map[string]string{"/mnt/fast": "classes[].hostDir", "/mnt/raw": "classes[].hostDir", "/mnt": "of pools[].path"} // of testdata/everything.values.yaml
	for _, v := range pod.Volumes {
		switch {
		case v.HostPath != nil:
			add("hostPath: "+cmp.Or(paths[v.HostPath.Path], v.HostPath.Path), true)
		case v.ConfigMap == nil:
			t.Errorf("volume %s is of a kind that this test does not know", v.Name)
		}
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		s := c.SecurityContext
		privileged := s.Privileged != nil && *s.Privileged
		add("privileged: true", privileged)
		add("a root filesystem that can be written", s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem)
		if !privileged { // where these have a meaning
			add("allowPrivilegeEscalation: true", s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation)
			add("capabilities", s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL") || len(s.Capabilities.Add) > 0)
			add("root", pod.SecurityContext.RunAsNonRoot == nil || !*pod.SecurityContext.RunAsNonRoot)
		}
		for _, m := range c.VolumeMounts {
			if m.MountPropagation != nil {
				add("mountPropagation: "+string(*m.MountPropagation), true)
			}
			add("a configuration that can be written", m.MountPath == "/etc/berth" && !m.ReadOnly)
		}
		for _, p := range c.Ports {
			add("hostPort", p.HostPort != 0)
		}
	}
	return got
}
