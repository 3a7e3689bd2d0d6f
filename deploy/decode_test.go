package deploy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// serviceMonitor is the part of the Prometheus operator's type that the chart
// writes.
type serviceMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		JobLabel          string               `json:"jobLabel"`
		Selector          metav1.LabelSelector `json:"selector"`
		NamespaceSelector struct {
			MatchNames []string `json:"matchNames"`
		} `json:"namespaceSelector"`
		Endpoints []struct {
			Port        string `json:"port"`
			Interval    string `json:"interval"`
			Scheme      string `json:"scheme"`
			Relabelings []struct {
				SourceLabels []string `json:"sourceLabels"`
				TargetLabel  string   `json:"targetLabel"`
			} `json:"relabelings"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// kinds makes an empty object for every kind that may be rendered.
var kinds = map[string]func() metav1.Object{
	"apps/v1, DaemonSet":                                                func() metav1.Object { return new(appsv1.DaemonSet) },
	"apps/v1, Deployment":                                               func() metav1.Object { return new(appsv1.Deployment) },
	"v1, ConfigMap":                                                     func() metav1.Object { return new(corev1.ConfigMap) },
	"v1, Namespace":                                                     func() metav1.Object { return new(corev1.Namespace) },
	"v1, Service":                                                       func() metav1.Object { return new(corev1.Service) },
	"v1, ServiceAccount":                                                func() metav1.Object { return new(corev1.ServiceAccount) },
	"storage.k8s.io/v1, CSIDriver":                                      func() metav1.Object { return new(storagev1.CSIDriver) },
	"storage.k8s.io/v1, StorageClass":                                   func() metav1.Object { return new(storagev1.StorageClass) },
	"rbac.authorization.k8s.io/v1, ClusterRole":                         func() metav1.Object { return new(rbacv1.ClusterRole) },
	"rbac.authorization.k8s.io/v1, ClusterRoleBinding":                  func() metav1.Object { return new(rbacv1.ClusterRoleBinding) },
	"rbac.authorization.k8s.io/v1, Role":                                func() metav1.Object { return new(rbacv1.Role) },
	"rbac.authorization.k8s.io/v1, RoleBinding":                         func() metav1.Object { return new(rbacv1.RoleBinding) },
	"admissionregistration.k8s.io/v1, ValidatingAdmissionPolicy":        func() metav1.Object { return new(admissionv1.ValidatingAdmissionPolicy) },
	"admissionregistration.k8s.io/v1, ValidatingAdmissionPolicyBinding": func() metav1.Object { return new(admissionv1.ValidatingAdmissionPolicyBinding) },
	"monitoring.coreos.com/v1, ServiceMonitor":                          func() metav1.Object { return new(serviceMonitor) },
}

// decode decodes every document of a manifest into Kubernetes' own type. A
// field that the type does not have, or has twice, fails the test.
func decode(t *testing.T, manifest []byte) []metav1.Object {
	t.Helper()
	var objects []metav1.Object
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		var head metav1.TypeMeta
		if err := yaml.Unmarshal(document, &head); err != nil {
			t.Fatal(err)
		}
		if head == (metav1.TypeMeta{}) {
			continue
		}
		empty := kinds[head.APIVersion+", "+head.Kind]
		if empty == nil {
			t.Fatalf("rendered a %s of %s, of which this test knows no type", head.Kind, head.APIVersion)
		}
		object := empty()
		if err := yaml.UnmarshalStrict(document, object); err != nil {
			t.Fatalf("%s: %v", head.Kind, err)
		}
		objects = append(objects, object)
	}
}

// one returns the only object of type T.
func one[T metav1.Object](t *testing.T, objects []metav1.Object) T {
	t.Helper()
	found := all[T](objects)
	if len(found) != 1 {
		t.Fatalf("found %d objects of type %T, want 1", len(found), *new(T))
	}
	return found[0]
}

func all[T metav1.Object](objects []metav1.Object) []T {
	var found []T
	for _, object := range objects {
		if o, ok := object.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

// agents returns the objects that are not the controller's.
func agents(objects []metav1.Object) []metav1.Object {
	return slices.DeleteFunc(slices.Clone(objects), func(object metav1.Object) bool {
		return object.GetLabels()["app.kubernetes.io/component"] == "controller"
	})
}
