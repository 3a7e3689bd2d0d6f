package deploy

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
)

// TestManifests decodes all that the chart renders, and holds it to what no
// values may change.
func TestManifests(t *testing.T) {
	for _, values := range valueFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			objects := decode(t, render(t, values))
			checkNames(t, objects)
			checkBindings(t, objects)
			objects = agents(objects)
			daemonSet := one[*appsv1.DaemonSet](t, objects)
			checkSelectors(t, objects, daemonSet)
			checkPod(t, daemonSet.Spec.Template.Spec)
			checkRights(t, objects)
			for _, class := range all[*storagev1.StorageClass](objects) {
				checkStorageClass(t, class)
			}
		})
	}
}

// checkStorageClass holds a class to whose volumes it has.
func checkStorageClass(t *testing.T, class *storagev1.StorageClass) {
	t.Helper()
	waits := class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
	grows := class.AllowVolumeExpansion != nil && *class.AllowVolumeExpansion
	carved := class.Provisioner == api.Driver && class.Parameters["pool"] != "" && grows
	found := class.Provisioner == "kubernetes.io/no-provisioner" && class.Parameters == nil && waits && !grows
	if !carved && !found {
		t.Errorf("StorageClass %s is neither for found volumes nor for carved ones: %+v", class.Name, class)
	}
}

// checkNames looks for objects that Kubernetes would take for one.
func checkNames(t *testing.T, objects []metav1.Object) {
	t.Helper()
	seen := map[string]bool{}
	for _, object := range objects {
		name := reflect.TypeOf(object).String() + " " + object.GetNamespace() + " " + object.GetName()
		if object.GetName() == "" || seen[name] {
			t.Errorf("%s is there twice, or has no name", name)
		}
		seen[name] = true
	}
}

// checkSelectors holds every selector against the labels it is to find.
func checkSelectors(t *testing.T, objects []metav1.Object, daemonSet *appsv1.DaemonSet) {
	t.Helper()
	pod := daemonSet.Spec.Template.Labels
	if !within(daemonSet.Spec.Selector.MatchLabels, pod) {
		t.Errorf("the DaemonSet selects %v, its pods are %v", daemonSet.Spec.Selector.MatchLabels, pod)
	}
	for _, monitor := range all[*serviceMonitor](objects) {
		service := one[*corev1.Service](t, objects)
		if !within(service.Spec.Selector, pod) {
			t.Errorf("the Service selects %v, the pods are %v", service.Spec.Selector, pod)
		}
		if !within(monitor.Spec.Selector.MatchLabels, service.Labels) {
			t.Errorf("the ServiceMonitor selects %v, the Service is %v", monitor.Spec.Selector.MatchLabels, service.Labels)
		}
		if monitor.Spec.Endpoints[0].Port != service.Spec.Ports[0].Name {
			t.Errorf("the ServiceMonitor asks for port %q", monitor.Spec.Endpoints[0].Port)
		}
	}
}

func within(selector, labels map[string]string) bool {
	for name, value := range selector {
		if labels[name] != value {
			return false
		}
	}
	return len(selector) > 0
}

// checkPod holds the agent's flags, mounts and volumes together.
func checkPod(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	container := pod.Containers[0]
	if len(pod.Containers) != 1 || len(pod.InitContainers) != 0 {
		t.Errorf("the agent is one container, with none beside it")
	}
	volumes := map[string]corev1.VolumeSource{}
	for _, volume := range pod.Volumes {
		volumes[volume.Name] = volume.VolumeSource
	}
	mounts := map[string]corev1.VolumeMount{}
	for _, mount := range container.VolumeMounts {
		if _, twice := mounts[mount.MountPath]; twice {
			t.Errorf("two volumes are mounted at %s", mount.MountPath)
		}
		mounts[mount.MountPath] = mount
		if _, ok := volumes[mount.Name]; !ok {
			t.Errorf("%s mounts the volume %s, which the pod lacks", mount.MountPath, mount.Name)
		}
	}
	for _, dir := range []string{"/dev", api.StateDir, filepath.Dir(api.ConfigFile)} {
		if mount, ok := mounts[dir]; !ok || mount.SubPath != "" {
			t.Errorf("%s is not mounted as a directory", dir)
		}
	}
	for _, dir := range allowedDirs(container.Args) {
		for _, ok := mounts[dir]; !ok && dir != "/"; _, ok = mounts[dir] {
			dir = filepath.Dir(dir)
		}
		mount, ok := mounts[dir]
		if !ok || mount.MountPropagation == nil || *mount.MountPropagation != corev1.MountPropagationHostToContainer {
			t.Errorf("%s is allowed, but mounts in it would not be seen: %v", dir, mount)
		}
	}
	for _, want := range []string{"--config=" + api.ConfigFile, "--state-dir=" + api.StateDir, "--node=$(NODE_NAME)"} {
		if !slices.Contains(container.Args, want) {
			t.Errorf("the agent is started without %s: %q", want, container.Args)
		}
	}
}

// allowedDirs returns the directories that the agent's flags allow it.
func allowedDirs(args []string) []string {
	var dirs []string
	for _, arg := range args {
		if dir, ok := strings.CutPrefix(arg, "--allow-dir="); ok {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// checkRights holds the agent's rights to the ones it is known to need for its
// configuration. The template has the reason beside each.
func checkRights(t *testing.T, objects []metav1.Object) {
	t.Helper()
	want := map[string]string{
		"/persistentvolumes":            "create delete get list patch watch",
		"storage.k8s.io/storageclasses": "list watch",
		"/nodes":                        "get",
		"/events":                       "create",
		"/pods":                         "list",
	}
	file := one[*corev1.ConfigMap](t, objects).Data[filepath.Base(api.ConfigFile)]
	if strings.Contains(file, "startupTaint:") || strings.Contains(file, "whenGone: TaintNode") {
		want["/nodes"] = "get update"
	}
	pools := strings.Contains(file, "pools:")
	if pools {
		want["/persistentvolumeclaims"] = "get list patch watch"
		want["/persistentvolumeclaims/status"] = "patch"
	}
	if got := rights(one[*rbacv1.ClusterRole](t, objects).Rules); !maps.Equal(got, want) {
		t.Errorf("rights of the agent: %v, want %v", got, want)
	}
	want = map[string]string{}
	if pools {
		want["storage.k8s.io/csistoragecapacities"] = "create delete list patch"
	}
	if strings.Contains(file, "job: true") {
		want["batch/jobs"] = "create delete get watch"
	}
	got := map[string]string{}
	for _, role := range all[*rbacv1.Role](objects) {
		maps.Copy(got, rights(role.Rules))
	}
	if !maps.Equal(got, want) {
		t.Errorf("rights of the agent in its namespace: %v, want %v", got, want)
	}
}

// rights returns the sorted verbs of each group and resource.
func rights(rules []rbacv1.PolicyRule) map[string]string {
	got := map[string]string{}
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				key := group + "/" + resource
				if len(rule.ResourceNames) > 0 {
					key += " " + strings.Join(rule.ResourceNames, " ")
				}
				verbs := slices.Sorted(slices.Values(append(strings.Fields(got[key]), rule.Verbs...)))
				got[key] = strings.Join(slices.Compact(verbs), " ")
			}
		}
	}
	return got
}

// checkBindings holds every binding to a role and an account that are rendered
// with it, or to an account that somebody else makes.
func checkBindings(t *testing.T, objects []metav1.Object) {
	t.Helper()
	names := map[string]bool{}
	for _, object := range objects {
		names[fmt.Sprintf("%T %s %s", object, object.GetNamespace(), object.GetName())] = true
	}
	check := func(in string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
		if !names[fmt.Sprintf("*v1.%s %s %s", ref.Kind, in, ref.Name)] {
			t.Errorf("a binding names the %s %s %s, which is not there", ref.Kind, in, ref.Name)
		}
		for _, s := range subjects {
			made := len(all[*corev1.ServiceAccount](objects)) > 0
			if made && !names[fmt.Sprintf("*v1.%s %s %s", s.Kind, s.Namespace, s.Name)] {
				t.Errorf("a binding names the %s %s %s, which is not there", s.Kind, s.Namespace, s.Name)
			}
		}
	}
	for _, b := range all[*rbacv1.ClusterRoleBinding](objects) {
		check("", b.RoleRef, b.Subjects)
	}
	for _, b := range all[*rbacv1.RoleBinding](objects) {
		check(b.Namespace, b.RoleRef, b.Subjects)
	}
}

// TestEveryRightHasAReason reads the templates: a comment stands before each rule.
func TestEveryRightHasAReason(t *testing.T) {
	for _, file := range []string{"rbac.yaml", "controller/rbac.yaml"} {
		data, err := os.ReadFile("helm/berth/templates/" + file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(data), "\n")
		for i, line := range lines {
			if strings.HasPrefix(line, "  - apiGroups:") && !strings.HasPrefix(lines[i-1], "  # ") {
				t.Errorf("%s:%d: no reason before this rule", file, i+1)
			}
		}
	}
}

// TestManifest decodes the file for kubectl apply. That it is what the chart
// renders to is what go run ./deploy/gen -check looks at.
func TestManifest(t *testing.T) {
	data, err := os.ReadFile("berth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objects := decode(t, data)
	namespace, ok := objects[0].(*corev1.Namespace)
	if !ok || namespace.Labels["pod-security.kubernetes.io/enforce"] != "privileged" {
		t.Errorf("the first object is no namespace that admits privileged pods: %v", objects[0])
	}
	daemonSet := one[*appsv1.DaemonSet](t, objects)
	checkSelectors(t, objects, daemonSet)
	checkPod(t, daemonSet.Spec.Template.Spec)
	for _, object := range objects {
		if in := object.GetNamespace(); in != "" && in != namespace.Name {
			t.Errorf("%T %s is in namespace %s", object, object.GetName(), in)
		}
	}
	if bytes.Contains(data, []byte("Helm\n")) {
		t.Error("the manifest says that Helm manages it")
	}
}
