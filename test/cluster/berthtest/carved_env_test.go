//go:build cluster

package berthtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/stage"
	"github.com/berth-storage/berth/test/cluster/workload"
)

const (
	mib   = 1 << 20
	block = 4096 // what a pool's room is rounded down to
)

// stay keeps a pod running until it is told to end.
const stay = "\ntrap 'exit 0' TERM; while :; do sleep 0.2; done"

// carvedEnv is what one test of volumes out of pools works with.
type carvedEnv struct {
	*env
	before  map[string]room // by node, with nothing promised
	classes []string        // the test's own
}

// room is what the scheduler knows of a node.
type room struct{ free, largest int64 }

// beginCarved prepares a test of volumes out of pools. It begins when nothing is
// left of what came before it, and at its end all that it has used must be free
// again, to the byte, and nothing may be left that tells of it.
func beginCarved(t *testing.T) *carvedEnv {
	t.Helper()
	e := &carvedEnv{env: begin(t)}
	e.Until("the pools to be empty", func(ctx context.Context) (err error) {
		e.before, err = e.empty(ctx)
		return err
	})
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stage.Patience)
		defer cancel()
		err := errors.Join(e.Space.Empty(ctx), workload.Until(ctx, "all space to be back", e.asBefore))
		for _, name := range e.classes { // last: a volume may need its class until it is gone
			err = errors.Join(err, e.C.Client().StorageV1().StorageClasses().Delete(ctx, name, metav1.DeleteOptions{}))
		}
		if err != nil {
			e.Error(err)
		}
	})
	return e
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

// asBefore is nil when the pools are empty and as large as they were.
func (e *carvedEnv) asBefore(ctx context.Context) error {
	rooms, err := e.empty(ctx)
	if err == nil && !maps.Equal(rooms, e.before) {
		err = fmt.Errorf("the room is %v, and was %v", rooms, e.before)
	}
	return err
}

// empty is the room of each node when nothing is promised of it, nothing is in
// the pools, and neither a PersistentVolume nor a record of a volume is left; an
// error as long as one of that is not so. It asks the API server and the agents
// themselves, so that it can be used when the test, and its watch, is over.
func (e *carvedEnv) empty(ctx context.Context) (map[string]room, error) {
	pvs, err := e.C.Client().CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, pv := range pvs.Items {
		if pv.Spec.CSI != nil && pv.Spec.CSI.Driver == api.Driver {
			return nil, fmt.Errorf("%s is %s", pv.Name, pv.Status.Phase)
		}
	}
	rooms, err := e.rooms(ctx, cluster.PoolClass)
	if err != nil || len(rooms) < 2 {
		return nil, errors.Join(fmt.Errorf("%d nodes have told their room", len(rooms)), err)
	}
	for node, r := range rooms {
		if total, err := e.pool(ctx, node, "total_bytes"); err != nil || total-r.free >= block {
			return nil, errors.Join(fmt.Errorf("of %d bytes of %s %d are free", total, node, r.free), err)
		}
		if volumes, err := e.pool(ctx, node, "volumes"); err != nil || volumes != 0 {
			return nil, errors.Join(fmt.Errorf("%d volumes are in the pool of %s", volumes, node), err)
		}
		if records, err := e.records(ctx, node); err != nil || len(records) != 0 {
			return nil, errors.Join(fmt.Errorf("the journal of %s has %v", node, records), err)
		}
	}
	return rooms, nil
}

// pool reads one of the metrics that a node's agent has of the pool.
func (e *carvedEnv) pool(ctx context.Context, node, metric string) (int64, error) {
	p, err := e.agentOn(ctx, node)
	if err != nil {
		return 0, err
	}
	all, err := e.C.Client().CoreV1().Pods(p.Namespace).ProxyGet("http", p.Name, "8080", "/metrics", nil).DoRaw(ctx)
	if err != nil {
		return 0, err
	}
	name := fmt.Sprintf("berth_pool_%s{pool=%q} ", metric, cluster.PoolName)
	for line := range strings.Lines(string(all)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64) // exact: less than 2^53
			return int64(v), err
		}
	}
	return 0, fmt.Errorf("the agent of %s has no metric %s", node, name)
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
	p, err := e.agentOn(ctx, node)
	if err != nil {
		return "", err
	}
	return e.C.Kubectl(ctx, append([]string{"-n", p.Namespace, "exec", p.Name, "--", "berth"}, args...)...)
}

func (e *carvedEnv) agentOn(ctx context.Context, node string) (*corev1.Pod, error) {
	pods, err := e.C.Client().CoreV1().Pods(cluster.BerthNamespace).List(ctx, metav1.ListOptions{LabelSelector: agents, FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return nil, err
	}
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp == nil {
			return &pods.Items[i], nil
		}
	}
	return nil, fmt.Errorf("no agent on %s", node)
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
	e.classes = append(e.classes, name)
	e.Until("the room for class "+name, func(ctx context.Context) error {
		rooms, err := e.rooms(ctx, name)
		if err == nil && len(rooms) < len(e.before) {
			err = fmt.Errorf("%d nodes have told it", len(rooms))
		}
		return err
	})
}
