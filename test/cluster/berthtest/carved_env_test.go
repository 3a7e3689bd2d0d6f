//go:build cluster

package berthtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/stage"
	"github.com/berth-storage/berth/test/cluster/workload"
)

const mib = 1 << 20

// stay keeps a pod running until it is told to end.
const stay = "\ntrap 'exit 0' TERM; while :; do sleep 0.2; done"

// carvedEnv is what one test of volumes out of pools works with.
type carvedEnv struct {
	*env
	before map[string]room // by node
}

// room is what the scheduler knows of a node.
type room struct{ free, largest int64 }

// beginCarved prepares a test of volumes out of pools. At its end all that it
// has used must be free again, and nothing may be left that tells of it.
func beginCarved(t *testing.T) *carvedEnv {
	t.Helper()
	e := &carvedEnv{env: begin(t)}
	e.before = e.known(cluster.PoolClass)
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stage.Patience)
		defer cancel()
		if err := e.Space.Empty(ctx); err != nil {
			e.Error(err)
		}
		if err := workload.Until(ctx, "all space to be back", e.asBefore); err != nil {
			e.Error(err)
		}
	})
	return e
}

// known waits until each node has told the room that it has for a class.
func (e *carvedEnv) known(class string) (rooms map[string]room) {
	e.Helper()
	e.Until("the room for class "+class, func(ctx context.Context) (err error) {
		if rooms, err = e.rooms(ctx, class); err == nil && len(rooms) < 2 {
			err = fmt.Errorf("%d nodes have told it", len(rooms))
		}
		return err
	})
	return rooms
}

// rooms is the room for a class, by node.
func (e *carvedEnv) rooms(ctx context.Context, class string) (map[string]room, error) {
	list, err := e.C.Client().StorageV1().CSIStorageCapacities(cluster.BerthNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	rooms := map[string]room{}
	for _, c := range list.Items {
		if c.StorageClassName == class {
			rooms[c.NodeTopology.MatchLabels[api.LabelNode]] = room{c.Capacity.Value(), c.MaximumVolumeSize.Value()}
		}
	}
	return rooms, nil
}

// promised waits until a node's room is less than before the test by what was
// promised there, to the byte.
func (e *carvedEnv) promised(node string, bytes int64) {
	e.Helper()
	e.Until(fmt.Sprintf("%d bytes of %s to be promised", bytes, node), func(ctx context.Context) error {
		rooms, err := e.rooms(ctx, cluster.PoolClass)
		if got := e.before[node].free - rooms[node].free; err == nil && got != bytes {
			err = fmt.Errorf("%d are", got)
		}
		return err
	})
}

// asBefore is nil when the room is what it was to the byte, and neither a
// PersistentVolume nor a record of a volume is left.
func (e *carvedEnv) asBefore(ctx context.Context) error {
	rooms, err := e.rooms(ctx, cluster.PoolClass)
	if err == nil && !maps.Equal(rooms, e.before) {
		err = fmt.Errorf("the room is %v, and was %v", rooms, e.before)
	}
	for _, pv := range e.PVs.All() {
		if pv.Spec.CSI != nil && pv.Spec.CSI.Driver == api.Driver {
			err = errors.Join(err, fmt.Errorf("%s is %s", pv.Name, pv.Status.Phase))
		}
	}
	for node := range e.before {
		records, err2 := e.records(ctx, node)
		if err = errors.Join(err, err2); len(records) > 0 {
			err = errors.Join(err, fmt.Errorf("the journal of %s has %v", node, records))
		}
	}
	return err
}

// allBack deletes what the test has made and waits until all space is back.
func (e *carvedEnv) allBack() {
	e.Helper()
	e.Must(e.Space.Empty(e.Ctx))
	e.Until("all space to be back", e.asBefore)
}

// record is what `berth volume list` says of a volume.
type record struct{ ID, State, Class, Entry, Identity, PV, PVPhase, Claim, Reason string }

// records asks a node's agent for its volumes out of pools.
func (e *carvedEnv) records(ctx context.Context, node string) (carved []record, err error) {
	out, err := e.berth(ctx, node, "volume", "list", "-o", "json")
	if err != nil {
		return nil, err
	}
	var all []record
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, fmt.Errorf("reading %q: %w", out, err)
	}
	return slices.DeleteFunc(all, func(r record) bool { return !strings.HasPrefix(r.Identity, "carved:") }), nil
}

// berth runs the command in a node's agent, as a person does.
func (e *carvedEnv) berth(ctx context.Context, node string, args ...string) (string, error) {
	pods, err := e.C.Client().CoreV1().Pods(cluster.BerthNamespace).List(ctx, metav1.ListOptions{LabelSelector: agents, FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return "", err
	}
	for _, p := range pods.Items {
		if p.DeletionTimestamp == nil {
			return e.C.Kubectl(ctx, append([]string{"-n", p.Namespace, "exec", p.Name, "--", "berth"}, args...)...)
		}
	}
	return "", fmt.Errorf("no agent on %s", node)
}

// class makes a StorageClass like the cluster's own for pools, but for a change,
// until the end of the test, and waits until the nodes have told the room for it.
func (e *carvedEnv) class(name string, change func(*storagev1.StorageClass)) {
	e.Helper()
	classes := e.C.Client().StorageV1().StorageClasses()
	own, err := classes.Get(e.Ctx, cluster.PoolClass, metav1.GetOptions{})
	e.Must(err)
	own.ObjectMeta = metav1.ObjectMeta{Name: name}
	change(own)
	_, err = classes.Create(e.Ctx, own, metav1.CreateOptions{})
	e.Must(err)
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stage.Patience)
		defer cancel()
		if err := errors.Join(e.Space.Empty(ctx), classes.Delete(ctx, name, metav1.DeleteOptions{})); err != nil {
			e.Error(err)
		}
	})
	e.known(name)
}
