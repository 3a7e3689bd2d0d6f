package deploy

import (
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// TestController holds the controller's Deployment to what no values may change.
func TestController(t *testing.T) {
	objects := decode(t, render(t, "testdata/controller.values.yaml"))
	deployment := one[*appsv1.Deployment](t, objects)
	pod := deployment.Spec.Template
	if !within(deployment.Spec.Selector.MatchLabels, pod.Labels) {
		t.Errorf("the Deployment selects %v, its pods are %v", deployment.Spec.Selector.MatchLabels, pod.Labels)
	}
	if agent := one[*appsv1.DaemonSet](t, objects); within(agent.Spec.Selector.MatchLabels, pod.Labels) {
		t.Errorf("the DaemonSet selects the controller's pods, too: %v", pod.Labels)
	}
	if s := pod.Spec.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || len(pod.Spec.Volumes) != 0 {
		t.Error("the controller runs as root, or with something of the node")
	}
	container := pod.Spec.Containers[0]
	if s := container.SecurityContext; s == nil || s.Privileged != nil || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation {
		t.Errorf("the controller is privileged, or writes to its image: %v", s)
	}
	for _, want := range []string{"controller", "--storageclass-names=fast,raw", "--pvc-deletion-delay=10m",
		"--stale-pv-discovery-interval=1m30s"} {
		if !slices.Contains(container.Args, want) {
			t.Errorf("the controller is started without %s: %q", want, container.Args)
		}
	}
}

// TestControllerPlaces: with pools there is a controller, which does not clean up
// unless that is asked for.
func TestControllerPlaces(t *testing.T) {
	for values, cleans := range map[string]bool{"testdata/pools.values.yaml": false, "testdata/everything.values.yaml": true} {
		args := one[*appsv1.Deployment](t, decode(t, render(t, values))).Spec.Template.Spec.Containers[0].Args
		if !slices.Contains(args, "--placement") || slices.Contains(args, "--storageclass-names=fast,raw,carved") != cleans ||
			!cleans && slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, "stale") || strings.Contains(a, "pvc") }) {
			t.Errorf("%s: the controller is started with %q", values, args)
		}
	}
}

// TestControllerIsOff holds the chart to its word: what deletes claims has to be asked for.
func TestControllerIsOff(t *testing.T) {
	for _, object := range decode(t, render(t, "testdata/default.values.yaml")) {
		if strings.Contains(object.GetName(), "controller") {
			t.Errorf("%T %s is there", object, object.GetName())
		}
	}
}

// TestControllerRights holds the controller's rights to the ones it is known to
// need, in the cluster, in its namespace and among the nodes' leases.
func TestControllerRights(t *testing.T) {
	common := map[string]string{
		"/nodes":  "get list watch",
		"/events": "create",
		"berth-system coordination.k8s.io/leases":                  "create",
		"berth-system coordination.k8s.io/leases berth-controller": "get update",
	}
	cleans := map[string]string{
		"/persistentvolumes":                         "delete list patch watch",
		"/persistentvolumeclaims":                    "delete get",
		"kube-node-lease coordination.k8s.io/leases": "get",
	}
	places := map[string]string{
		"/persistentvolumes":                  "get",
		"/persistentvolumeclaims":             "list patch watch",
		"storage.k8s.io/storageclasses":       "list watch",
		"storage.k8s.io/csistoragecapacities": "list watch",
	}
	both := map[string]string{"/persistentvolumeclaims": "delete get list patch watch", "/persistentvolumes": "delete get list patch watch"}
	for values, parts := range map[string][]map[string]string{
		"testdata/controller.values.yaml": {common, cleans},
		"testdata/pools.values.yaml":      {common, places},
		"testdata/everything.values.yaml": {common, cleans, places, both},
	} {
		want := map[string]string{}
		for _, part := range parts {
			maps.Copy(want, part)
		}
		if got := controllerRights(t, values); !maps.Equal(got, want) {
			t.Errorf("%s: rights of the controller: %v, want %v", values, got, want)
		}
	}
}

func controllerRights(t *testing.T, values string) map[string]string {
	t.Helper()
	got := map[string]string{}
	objects := decode(t, render(t, values))
	for _, role := range all[*rbacv1.ClusterRole](objects) {
		if role.Labels["app.kubernetes.io/component"] == "controller" {
			maps.Copy(got, rights(role.Rules))
		}
	}
	for _, role := range all[*rbacv1.Role](objects) {
		if role.Labels["app.kubernetes.io/component"] != "controller" {
			continue
		}
		for resource, verbs := range rights(role.Rules) {
			got[role.Namespace+" "+resource] = verbs
		}
	}
	return got
}
