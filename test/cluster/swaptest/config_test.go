//go:build cluster

package swaptest

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/test/cluster/stage"
)

// put writes the agents' configuration, as a person does who edits the
// ConfigMap, and returns what it was.
func (e *env) put(data map[string]string) (before map[string]string) {
	e.Helper()
	configs := e.C.Client().CoreV1().ConfigMaps(namespace)
	m, err := configs.Get(e.Ctx, configMap, metav1.GetOptions{})
	e.Must(err)
	before, m.Data = m.Data, data
	_, err = configs.Update(e.Ctx, m, metav1.UpdateOptions{})
	e.Must(err)
	e.Nudge(e.Ctx)
	return before
}

// edit changes the agents' configuration until the end of the test, and waits
// until it is in force.
func (e *env) edit(change func(data map[string]string)) {
	e.Helper()
	m, err := e.C.Client().CoreV1().ConfigMaps(namespace).Get(e.Ctx, configMap, metav1.GetOptions{})
	e.Must(err)
	data := maps.Clone(m.Data)
	change(data)
	e.after(func() { e.inForce(m.Data) })
	e.inForce(data)
}

// inForce writes a configuration that differs from the last, and waits until
// every agent says that it obeys it.
func (e *env) inForce(data map[string]string) {
	e.Helper()
	said := map[string]string{}
	for _, node := range nodes {
		said[node] = e.Said(node, "configuration in force")
	}
	e.put(data)
	for _, node := range nodes {
		e.Until("the configuration to be in force on "+node, func(context.Context) error {
			if e.Said(node, "configuration in force") == said[node] {
				return errors.New("the agent does not say so")
			}
			return nil
		})
	}
}

// A bad edit of the ConfigMap is refused and changes nothing; a good one takes
// effect; the volumes of a class that is taken out are left alone. None of it
// restarts an agent.
func TestClusterConfigMapEdited(t *testing.T) {
	e := start(t)
	begun, restarts := time.Now(), e.Restarts("node-1")
	block := e.Disk("node-1", "config-block", "none", bytes)

	m, err := e.C.Client().CoreV1().ConfigMaps(namespace).Get(e.Ctx, configMap, metav1.GetOptions{})
	e.Must(err)
	bad := maps.Clone(m.Data)
	bad["storageClassMap"] = strings.Replace(bad["storageClassMap"], "volumeMode: Block", "volumeMode: Blok", 1)
	undone := false
	e.after(func() {
		if !undone {
			e.put(m.Data)
		}
	})
	e.put(bad)
	for _, node := range nodes {
		e.Event(begun, "Node", node, "ConfigRefused", "storageClassMap")
		e.Event(begun, "Node", node, "ConfigRefused", "Blok")
	}
	e.Disk("node-1", "config-old", "ext4", bytes)
	e.same(block)

	classes := m.Data["storageClassMap"]
	e.put(m.Data)
	undone = true
	e.edit(func(data map[string]string) {
		data["labelsForPV"] = "team: storage\n"
		data["storageClassMap"] = classes[:strings.Index(classes, blockClass)]
	})
	if pv := e.Disk("node-1", "config-new", "ext4", bytes); pv.Labels["team"] != "storage" {
		t.Errorf("labels of a volume published since: %v", pv.Labels)
	}
	e.Says("node-1", "left alone", blockClass)
	e.Release(block)
	e.Disk("node-1", "config-last", "ext4", bytes) // an event later than the release
	if now := e.now(block); now.UID != block.UID || now.Status.Phase != corev1.VolumeReleased {
		t.Errorf("the volume of the class that was taken out is %s (UID %s)", now.Status.Phase, now.UID)
	}
	if now := e.Restarts("node-1"); now != restarts {
		t.Errorf("the agent has restarted: %s, was %s", now, restarts)
	}
	// With its class back, the volume is looked after again.
	e.edit(func(data map[string]string) { data["storageClassMap"] = classes })
	e.NothingLeft(e.Available("node-1", stage.PathOf("config-block", "none"), block.UID))
}
