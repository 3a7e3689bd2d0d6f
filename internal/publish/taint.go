package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

// RemoveTaint takes every taint with a key off this client's node, whatever its
// effect, and reports whether there was one. Where the node has changed
// meanwhile it returns a conflict, and nothing was written.
//
// The object goes back as it came, field by field, and not by way of
// corev1.Node, which would drop the fields of another version of Kubernetes. It
// is an update because that is what the established provisioner's role allows.
func (c *Client) RemoveTaint(ctx context.Context, key string) (removed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	data, err := c.core.Get().Resource("nodes").Name(c.node).SetHeader("Accept", "application/json").Do(ctx).Raw()
	if err != nil {
		return false, fmt.Errorf("reading node %s: %w", c.node, err)
	}
	data, removed, err = withoutTaint(data, key)
	if err != nil {
		return false, fmt.Errorf("reading node %s: %w", c.node, err)
	}
	if !removed {
		return false, nil
	}
	err = c.core.Put().Resource("nodes").Name(c.node).SetHeader("Accept", "application/json").
		SetHeader("Content-Type", "application/json").Body(data).Do(ctx).Error()
	if err != nil {
		return false, fmt.Errorf("updating node %s: %w", c.node, err)
	}
	return true, nil
}

// withoutTaint returns a node, as JSON, without the taints of a key.
func withoutTaint(node []byte, key string) (data []byte, removed bool, err error) {
	var fields map[string]any
	in := json.NewDecoder(bytes.NewReader(node))
	in.UseNumber() // 64 bits stay what they are
	if err := in.Decode(&fields); err != nil {
		return nil, false, err
	}
	spec, _ := fields["spec"].(map[string]any)
	taints, _ := spec["taints"].([]any)
	left := make([]any, 0, len(taints))
	for _, t := range taints {
		if taint, ok := t.(map[string]any); !ok || taint["key"] != key {
			left = append(left, t)
		}
	}
	if len(left) == len(taints) {
		return nil, false, nil
	}
	spec["taints"] = left
	data, err = json.Marshal(fields)
	return data, true, err
}
