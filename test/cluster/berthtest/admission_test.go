//go:build cluster

package berthtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/stage"
)

const agentAccount = "berth-agent"

// TestClusterStolenToken is guarantee 10: with the token of a node's agent, and
// even with all rights that a role could give it, nothing can be written but that
// node's own. Each of two agents' tokens is tried on the other's node. Every
// request is a dry run, which the policies judge as any other.
func TestClusterStolenToken(t *testing.T) {
	e := begin(t)
	e.giveAgentsEverything()
	pvs := map[string]*corev1.PersistentVolume{}
	for _, node := range []string{"node-1", "node-2"} {
		pvs[node] = e.Disk(node, "token-"+node, "ext4", 64<<20)
	}
	for _, pair := range [][2]string{{"node-1", "node-2"}, {"node-2", "node-1"}} {
		own, other := pair[0], pair[1]
		client := e.with(e.agentToken(own))
		e.policiesInForce(client, pvs[other].Name)
		s := &theft{env: e, client: client, own: own, other: other, mine: pvs[own], theirs: pvs[other]}
		for _, attempts := range [][]attempt{s.volumes(), s.changes(), s.unlabelled(), s.nodes(), s.jobs(), s.claims()} {
			for _, a := range attempts {
				t.Run(own+"'s token: "+a.name, func(t *testing.T) { a.check(t) })
			}
		}
	}
}

// TestClusterTokenWithoutNode: a token for the agents' account that no kubelet
// made, and somebody who acts as that account, can write nothing.
func TestClusterTokenWithoutNode(t *testing.T) {
	e := begin(t)
	pv := e.Disk("node-1", "tokenless", "ext4", 64<<20)
	got, err := e.C.Client().CoreV1().ServiceAccounts(cluster.BerthNamespace).CreateToken(e.Ctx, agentAccount, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	e.Must(err)
	acting := e.C.Config()
	acting.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + cluster.BerthNamespace + ":" + agentAccount}
	actor, err := kubernetes.NewForConfig(acting)
	e.Must(err)
	for name, client := range map[string]kubernetes.Interface{"token of no pod": e.with(got.Status.Token), "impersonation": actor} {
		err := client.CoreV1().PersistentVolumes().Delete(e.Ctx, pv.Name, metav1.DeleteOptions{DryRun: dryRun})
		attempt{do: func() error { return err }, refusal: "names no node"}.check(t)
		if t.Failed() {
			t.Log(name)
		}
	}
}

// TestClusterPoliciesCheck: the API server has looked at the policies' expressions
// and found every field that they name.
func TestClusterPoliciesCheck(t *testing.T) {
	e := begin(t)
	e.Until("the policies to be checked", func(ctx context.Context) error {
		list, err := e.C.Client().AdmissionregistrationV1().ValidatingAdmissionPolicies().List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=berth"})
		if err != nil {
			return err
		}
		if len(list.Items) < 4 {
			return fmt.Errorf("there are %d", len(list.Items))
		}
		for _, p := range list.Items {
			if p.Status.TypeChecking == nil || p.Status.ObservedGeneration != p.Generation {
				return fmt.Errorf("%s is not checked yet", p.Name)
			}
			for _, w := range p.Status.TypeChecking.ExpressionWarnings {
				t.Errorf("%s: %s: %s", p.Name, w.FieldRef, w.Warning)
			}
		}
		return nil
	})
}

var dryRun = []string{metav1.DryRunAll}

// attempt is one request with a token, and what the API server is to say.
type attempt struct {
	name    string
	do      func() error
	refusal string // words of the policy's message; empty where it is to be allowed
}

func (a attempt) check(t *testing.T) {
	t.Helper()
	switch err := a.do(); {
	case a.refusal == "" && err != nil:
		t.Errorf("refused: %v", err)
	case a.refusal != "" && err == nil:
		t.Error("allowed")
	case a.refusal != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), a.refusal) || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy")):
		t.Errorf("refused with %v; the words %q are missing", err, a.refusal)
	}
}

// agentToken is a token as the kubelet asks for it, for the agent's pod on a node.
func (e *env) agentToken(node string) string {
	e.Helper()
	p := e.Agent(node)
	got, err := e.C.Client().CoreV1().ServiceAccounts(p.Namespace).CreateToken(e.Ctx, p.Spec.ServiceAccountName, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.Name, UID: p.UID}},
	}, metav1.CreateOptions{})
	e.Must(err)
	return got.Status.Token
}

// with is a client that has a token and nothing else.
func (e *env) with(token string) kubernetes.Interface {
	e.Helper()
	config := rest.AnonymousClientConfig(e.C.Config())
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	e.Must(err)
	return client
}

// giveAgentsEverything binds the agents' account to the role of administrators
// until the end of the test, so that what is refused is refused by a policy.
func (e *env) giveAgentsEverything() {
	e.Helper()
	bindings := e.C.Client().RbacV1().ClusterRoleBindings()
	b := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: e.Space.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: agentAccount, Namespace: cluster.BerthNamespace}},
	}
	_, err := bindings.Create(e.Ctx, b, metav1.CreateOptions{})
	e.Must(err)
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stage.Patience)
		defer cancel()
		if err := bindings.Delete(ctx, b.Name, metav1.DeleteOptions{}); err != nil {
			e.Error(err)
		}
	})
}

// policiesInForce waits until the rights are there and the policies are at work:
// the API server learns of both from a watch.
func (e *env) policiesInForce(client kubernetes.Interface, foreign string) {
	e.Helper()
	e.Until("the policies to be in force", func(ctx context.Context) error {
		if _, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
			return err
		}
		err := client.CoreV1().PersistentVolumes().Delete(ctx, foreign, metav1.DeleteOptions{DryRun: dryRun})
		if err == nil {
			return errors.New("another node's volume may be deleted")
		}
		return nil
	})
}

// object is a volume as its node's agent publishes it, without what the API
// server adds.
func object(from *corev1.PersistentVolume, name string) *corev1.PersistentVolume {
	pv := &corev1.PersistentVolume{Spec: *from.Spec.DeepCopy()}
	pv.Name, pv.Finalizers = name, []string{api.Finalizer}
	pv.Labels = map[string]string{api.LabelNode: from.Labels[api.LabelNode]}
	pv.Annotations = map[string]string{api.AnnProvisionedBy: from.Annotations[api.AnnProvisionedBy]}
	return pv
}
