package publish

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

// SetState writes what is wrong with a volume, and why, onto its
// PersistentVolume, if that is still the one that was seen, and returns it as
// the API server has it then. An empty state takes both annotations off.
func (c *Client) SetState(ctx context.Context, pv volume.PV, state, reason string) (*corev1.PersistentVolume, error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	annotations := map[string]any{api.AnnState: nil, api.AnnReason: nil}
	if state != "" {
		annotations = map[string]any{api.AnnState: state, api.AnnReason: reason}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pv.UID, "annotations": annotations}})
	if err != nil {
		return nil, fmt.Errorf("annotating PV %s: %w", pv.Name, err)
	}
	got := &corev1.PersistentVolume{}
	if err := c.core.Patch(types.MergePatchType).Resource(pvs).Name(pv.Name).Body(patch).Do(ctx).Into(got); err != nil {
		return nil, fmt.Errorf("annotating PV %s: %w", pv.Name, err)
	}
	return got, nil
}

// PodsOf returns the pods on this client's node that use a claim and have not
// ended.
func (c *Client) PodsOf(ctx context.Context, claim volume.Claim) (pods []corev1.ObjectReference, err error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	var list corev1.PodList
	here := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", c.node).String()}
	if err := c.core.Get().Namespace(claim.Namespace).Resource("pods").VersionedParams(&here, c.codec).Do(ctx).Into(&list); err != nil {
		return nil, fmt.Errorf("listing the pods of claim %s: %w", claim, err)
	}
	for _, pod := range list.Items {
		if uses(&pod, claim.Name) {
			pods = append(pods, corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID})
		}
	}
	return pods, nil
}

// uses reports whether a pod has a claim mounted, or is about to.
func uses(pod *corev1.Pod, claim string) bool {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return false
	}
	for _, v := range pod.Spec.Volumes {
		switch {
		case v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claim:
			return true
		case v.Ephemeral != nil && pod.Name+"-"+v.Name == claim: // the name that Kubernetes gives the claim
			return true
		}
	}
	return false
}
