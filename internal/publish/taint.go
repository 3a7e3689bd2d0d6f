package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// RemoveTaint takes every taint with a key off this client's node, whatever its
// effect, and reports whether there was one. Where the node has changed
// meanwhile it returns a conflict, and nothing was written.
//
// The object goes back as it came, field by field, and not by way of
// corev1.Node, which would drop the fields of another version of Kubernetes. It
// is an update because that is what the established provisioner's role allows.
func (c *Client) RemoveTaint(ctx context.Context, key string) (removed bool, err error) {
	return c.editNode(ctx, func(node []byte) ([]byte, bool, error) { return withoutTaint(node, key) })
}

// AddTaint puts a taint without a value on this client's node, unless it is
// there already, and reports whether it did. It goes about it as RemoveTaint does.
func (c *Client) AddTaint(ctx context.Context, key string, effect corev1.TaintEffect) (added bool, err error) {
	return c.editNode(ctx, func(node []byte) ([]byte, bool, error) { return withTaint(node, key, effect) })
}

// editNode reads the node as JSON and writes what edit makes of it, if that has
// changed it.
func (c *Client) editNode(ctx context.Context, edit func([]byte) (data []byte, changed bool, err error)) (changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	data, err := c.core.Get().Resource("nodes").Name(c.node).SetHeader("Accept", "application/json").Do(ctx).Raw()
	if err != nil {
		return false, fmt.Errorf("reading node %s: %w", c.node, err)
	}
	data, changed, err = edit(data)
	if err != nil {
		return false, fmt.Errorf("reading node %s: %w", c.node, err)
	}
	if !changed {
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
	return editTaints(node, func(taints []any) []any {
		left := make([]any, 0, len(taints))
		for _, t := range taints {
			if taint, ok := t.(map[string]any); !ok || taint["key"] != key {
				left = append(left, t)
			}
		}
		return left
	})
}

// withTaint returns a node, as JSON, with a taint.
func withTaint(node []byte, key string, effect corev1.TaintEffect) (data []byte, added bool, err error) {
	return editTaints(node, func(taints []any) []any {
		for _, t := range taints {
			if taint, ok := t.(map[string]any); ok && taint["key"] == key && taint["effect"] == string(effect) {
				return taints
			}
		}
		return append(taints, map[string]any{"key": key, "effect": string(effect)})
	})
}

// editTaints returns a node with the taints that edit makes of its own, and
// whether their number has changed: edit either adds or takes away.
func editTaints(node []byte, edit func([]any) []any) (data []byte, changed bool, err error) {
	var fields map[string]any
	in := json.NewDecoder(bytes.NewReader(node))
	in.UseNumber() // 64 bits stay what they are
	if err := in.Decode(&fields); err != nil {
		return nil, false, err
	}
	spec, _ := fields["spec"].(map[string]any)
	before, _ := spec["taints"].([]any)
	taints := edit(before)
	if len(taints) == len(before) {
		return nil, false, nil
	}
	if spec == nil {
		spec = map[string]any{}
		fields["spec"] = spec
	}
	spec["taints"] = taints
	data, err = json.Marshal(fields)
	return data, true, err
}
