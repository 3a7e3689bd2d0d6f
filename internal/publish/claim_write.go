package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/volume"
)

// GiveBack takes the choice of this client's node off a claim, annotation and
// label at once, so that the scheduler chooses again. It reports whether it
// did: a claim that has gone, or for which another choice was made meanwhile, is
// left as it is, and is no error.
func (c *Client) GiveBack(ctx context.Context, w volume.Want) (given bool, err error) {
	annotation, label := Pointer("metadata", "annotations", AnnSelectedNode), Pointer("metadata", "labels", api.LabelNode)
	given, err = PatchClaim(ctx, c.core, w.Claim, []PatchOp{
		{Op: "test", Path: annotation, Value: w.Node},
		{Op: "test", Path: label, Value: NodeLabelValue(c.node)},
		{Op: "remove", Path: annotation},
		{Op: "remove", Path: label},
	})
	if err != nil {
		return false, fmt.Errorf("giving claim %s back to the scheduler: %w", w.Claim, err)
	}
	return given, nil
}

// PatchOp is one step of a JSON patch (RFC 6902). A "test" whose value is nil
// holds where nothing is at the path.
type PatchOp struct {
	Op, Path string
	Value    any
}

// MarshalJSON is part of json.Marshaler.
func (o PatchOp) MarshalJSON() ([]byte, error) {
	fields := map[string]any{"op": o.Op, "path": o.Path}
	if o.Op != "remove" {
		fields["value"] = o.Value
	}
	return json.Marshal(fields)
}

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")

// Pointer is the JSON pointer (RFC 6901) to a field.
func Pointer(names ...string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteString("/" + escapePointer.Replace(name))
	}
	return b.String()
}

// PatchClaim does the steps to a claim, all or none, if it is still the one of
// that UID. It reports whether it did: false without an error where a test does
// not hold any more or the claim is gone. Another's change that the tests do not
// ask about does not stand in the way, as it would with a resource version.
func PatchClaim(ctx context.Context, core rest.Interface, claim volume.Claim, steps []PatchOp) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	steps = append([]PatchOp{{Op: "test", Path: Pointer("metadata", "uid"), Value: claim.UID}}, steps...)
	body, err := json.Marshal(steps)
	if err != nil {
		return false, err
	}
	err = core.Patch(types.JSONPatchType).Namespace(claim.Namespace).Resource(pvcs).Name(claim.Name).Body(body).Do(ctx).Error()
	if undone(err) || apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// undone reports whether the API server has answered that a step cannot be done.
// An object that it does not take, or that a policy denies, is Invalid as well,
// but comes with causes.
func undone(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
		return false
	}
	d := status.Status().Details
	return d == nil || len(d.Causes) == 0
}

// GrowPV writes that a PersistentVolume has more bytes, if it is still the one
// that was seen, and returns it as the API server has it then. Less than it has
// is refused: what a claim was given is not taken away.
func (c *Client) GrowPV(ctx context.Context, pv volume.PV, bytes int64) (*corev1.PersistentVolume, error) {
	if bytes < pv.CapacityBytes {
		return nil, fmt.Errorf("growing PV %s: it has %d bytes, which is more than %d", pv.Name, pv.CapacityBytes, bytes)
	}
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pv.UID},
		"spec":     map[string]any{"capacity": map[string]string{"storage": quantity(bytes)}},
	})
	if err != nil {
		return nil, fmt.Errorf("growing PV %s: %w", pv.Name, err)
	}
	got := &corev1.PersistentVolume{}
	if err := c.core.Patch(types.MergePatchType).Resource(pvs).Name(pv.Name).Body(patch).Do(ctx).Into(got); err != nil {
		return nil, fmt.Errorf("growing PV %s: %w", pv.Name, err)
	}
	return got, nil
}

// SetResize writes how far a claim's wish for more space has come, if the claim
// is still as it was seen, and returns it as the API server has it then; else it
// returns a conflict, and the claim is to be looked at anew. Where the claim says
// so already nothing is written.
func (c *Client) SetResize(ctx context.Context, w volume.Want, r Resize) (volume.Want, error) {
	status := r.status(w)
	if status == nil {
		return w, nil
	}
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": w.Claim.UID, "resourceVersion": w.ResourceVersion},
		"status":   status,
	})
	if err != nil {
		return w, fmt.Errorf("writing the status of claim %s: %w", w.Claim, err)
	}
	var claim corev1.PersistentVolumeClaim
	err = c.core.Patch(types.StrategicMergePatchType).Namespace(w.Claim.Namespace).Resource(pvcs).Name(w.Claim.Name).
		SubResource("status").Body(patch).Do(ctx).Into(&claim)
	if err != nil {
		return w, fmt.Errorf("writing the status of claim %s: %w", w.Claim, err)
	}
	return WantOf(&claim), nil
}

// quantity writes bytes as Kubernetes does: 10Gi for ten times 2^30.
func quantity(bytes int64) string { return resource.NewQuantity(bytes, resource.BinarySI).String() }
