//go:build cluster

package swaptest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/stage"
)

// Names in testdata/established.yaml.
const (
	namespace  = "local-provisioner"
	daemonSet  = "local-volume-provisioner"
	configMap  = "local-provisioner-config"
	diskClass  = "local-disks"
	blockClass = "local-blocks"
	selector   = "app=" + daemonSet
	oldImage   = "registry.example.com/local-volume-provisioner:v2.9.0"
)

// nodes are the cluster's.
var nodes = []string{"node-1", "node-2"}

// env is what one test works with, on agents that the established provisioner's
// manifests have started.
type env struct{ *stage.Stage }

var (
	load   sync.Once
	loaded error // what load came to
)

// begin prepares a test with an image built from the work tree. No agents run before the first that installs them.
func begin(t *testing.T) *env {
	t.Helper()
	return beginWith(t, selector)
}

func beginWith(t *testing.T, selector string) *env {
	t.Helper()
	e := &env{stage.Begin(t, stage.Agents{Namespace: namespace, Selector: selector})}
	load.Do(func() { // and end the agents of an earlier run
		_, loaded = e.C.LoadBerth(e.Ctx)
		loaded = errors.Join(loaded, removeAgents(e.Ctx, e.C))
	})
	e.Must(loaded)
	return e
}

// start prepares a test for which the agents run.
func start(t *testing.T) *env {
	t.Helper()
	e := begin(t)
	e.install(cluster.BerthImage)
	return e
}

// install applies the established manifests with an image, and waits for Berth to
// be ready, if it is that.
func (e *env) install(image string) {
	e.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "established.yaml"))
	e.Must(err)
	file := filepath.Join(e.TempDir(), "established.yaml")
	e.Must(os.WriteFile(file, []byte(strings.ReplaceAll(string(data), oldImage, image)), 0o644))
	_, err = e.C.Kubectl(e.Ctx, "apply", "-f", file)
	e.Must(err)
	e.AgentsReady()
	if image == cluster.BerthImage {
		e.ready()
	}
}

// uninstall takes the agents away and leaves their ConfigMap and rights.
func (e *env) uninstall() {
	e.Helper()
	e.Must(removeAgents(e.Ctx, e.C))
	e.noAgents()
}

func removeAgents(ctx context.Context, c *cluster.Cluster) error {
	err := c.Client().AppsV1().DaemonSets(namespace).Delete(ctx, daemonSet, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("taking the agents away: %w", err)
	}
	return nil
}

// away takes the agents off all nodes until back.
func (e *env) away() (back func()) {
	e.Helper()
	e.selectNodes(`{"no-such-label":"on-any-node"}`)
	e.noAgents()
	return func() {
		e.Helper()
		e.selectNodes(`null`)
		e.AgentsReady()
		e.ready()
	}
}

// selectNodes says on which nodes agents run, as JSON.
func (e *env) selectNodes(selector string) {
	e.Helper()
	_, err := e.C.Client().AppsV1().DaemonSets(namespace).Patch(e.Ctx, daemonSet, types.MergePatchType,
		fmt.Appendf(nil, `{"spec":{"template":{"spec":{"nodeSelector":%s}}}}`, selector), metav1.PatchOptions{})
	e.Must(err)
}

// noAgents waits until no agent is left, one that ends included.
func (e *env) noAgents() {
	e.Helper()
	e.Until("the agents to be gone", func(ctx context.Context) error {
		pods, err := e.C.Client().CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("there is still %s", pods.Items[0].Name)
		}
		return err
	})
}

// ready waits until every node's agent says that it is, where the established
// provisioner says it.
func (e *env) ready() {
	e.Helper()
	for _, node := range nodes {
		e.Until("the agent on "+node+" to be ready", func(ctx context.Context) error {
			p := e.Agent(node)
			said, err := e.C.Client().CoreV1().Pods(namespace).ProxyGet("http", p.Name, "8080", "/ready", nil).DoRaw(ctx)
			if err != nil {
				return fmt.Errorf("%w: %s", err, said)
			}
			return nil
		})
	}
}

// after does something at the end of the test, when its deadline is over.
func (e *env) after(do func()) {
	e.Cleanup(func() {
		var cancel context.CancelFunc
		e.Ctx, cancel = context.WithTimeout(context.Background(), stage.Patience)
		defer cancel()
		do()
	})
}
