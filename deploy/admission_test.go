package deploy

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/internal/publish"
)

// What the expressions do is for the API server to show: TestClusterStolenToken.

// TestPolicies holds each policy to what makes it one that nobody gets around:
// it is bound, it denies, and its failure denies. And each of Berth's accounts has
// those for volumes and claims, and the agents' with pools that for capacities.
func TestPolicies(t *testing.T) {
	rendered := map[string][]byte{}
	for _, values := range valueFiles(t) {
		rendered[values] = render(t, values)
	}
	for _, values := range compatFiles(t) {
		rendered[values] = renderCompat(t, values)
	}
	for values, manifest := range rendered {
		t.Run(filepath.ToSlash(values), func(t *testing.T) { checkPolicies(t, decode(t, manifest)) })
	}
}

func checkPolicies(t *testing.T, objects []metav1.Object) {
	t.Helper()
	bound := map[string]bool{}
	for _, b := range all[*admissionv1.ValidatingAdmissionPolicyBinding](objects) {
		bound[b.Spec.PolicyName] = slices.Equal(b.Spec.ValidationActions, []admissionv1.ValidationAction{admissionv1.Deny}) && b.Spec.MatchResources == nil
	}
	confined := map[string]bool{} // users and resources
	for _, p := range all[*admissionv1.ValidatingAdmissionPolicy](objects) {
		if !bound[p.Name] || p.Spec.FailurePolicy == nil || *p.Spec.FailurePolicy != admissionv1.Fail {
			t.Errorf("policy %s is not bound, or its failure lets things pass", p.Name)
		}
		if len(p.Spec.MatchConditions) != 1 {
			t.Errorf("policy %s has %d conditions, want that of the user only", p.Name, len(p.Spec.MatchConditions))
			continue
		}
		for _, r := range p.Spec.MatchConstraints.ResourceRules {
			confined[p.Spec.MatchConditions[0].Expression+" "+r.Resources[0]] = len(r.Operations) == 3
		}
	}
	capacity := len(all[*storagev1.CSIDriver](objects)) > 0
	for _, b := range all[*rbacv1.ClusterRoleBinding](objects) {
		for _, role := range all[*rbacv1.ClusterRole](objects) {
			if role.Name != b.RoleRef.Name {
				continue
			}
			user := `request.userInfo.username == "system:serviceaccount:` + b.Subjects[0].Namespace + ":" + b.Subjects[0].Name + `"`
			resources := []string{"persistentvolumes", "persistentvolumeclaims"}
			if capacity && role.Labels["app.kubernetes.io/component"] == "agent" {
				resources = append(resources, "csistoragecapacities")
			}
			for _, resource := range resources {
				if !confined[user+" "+resource] {
					t.Errorf("%s of %s: no policy", resource, b.Subjects[0].Name)
				}
			}
		}
	}
}

// TestPolicyHashes: for a node with a long name the policy wants the label that
// the agent writes.
func TestPolicyHashes(t *testing.T) {
	const long = "a-node-with-a-name-that-is-longer-than-the-sixty-three-characters-of-a-label"
	manifest := render(t, "testdata/full.values.yaml")
	want, err := json.Marshal(map[string]string{long: publish.NodeLabelValue(long)})
	if err != nil || !bytes.Contains(manifest, want) {
		t.Errorf("the policies lack %s (%v)", want, err)
	}
	if !bytes.Contains(manifest, []byte(`"worker-1.example.com":"worker-1"`)) {
		t.Error("the policies lack the hostname of worker-1.example.com")
	}
}

// TestNoPolicies: the values turn them off, and a cluster that does not know them
// gets none, which helm says.
func TestNoPolicies(t *testing.T) {
	for _, args := range [][]string{{"--set", "admissionPolicy.enabled=false"}, {"--kube-version", "1.29.9"}} {
		out, err := runHelm(t, append([]string{"template", "berth", "helm/berth"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		objects := decode(t, out)
		if n := len(all[*admissionv1.ValidatingAdmissionPolicy](objects)); n != 0 || len(all[*corev1.ServiceAccount](objects)) != 1 {
			t.Errorf("%q: %d policies", args, n)
		}
	}
}
