//go:build cluster

package swaptest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/pvwatch"
)

// page is what the tests below follow.
const page = "migrate-static-provisioner.md"

// stranger is an image in the place of the established provisioner's, which is
// not to be had here: it does nothing.
const stranger = cluster.PauseImage

// follow runs the block of the page that has a word in it, as somebody does who
// has put in the names of this cluster.
func (e *env) follow(word string, replace ...string) string {
	e.Helper()
	values := append([]string{
		"kube-system", namespace,
		"registry.example.com/berth:0.1.0", cluster.BerthImage,
		oldImage, stranger,
	}, replace...)
	return e.Person(e.Block(page, "export NS=")+e.Block(page, word), values...)
}

// node is the Node object that a volume belongs to.
func (e *env) node(pv *corev1.PersistentVolume) *corev1.Node {
	e.Helper()
	n, err := e.C.Client().CoreV1().Nodes().Get(e.Ctx, pvwatch.Node(pv), metav1.GetOptions{})
	e.Must(err)
	return n
}

// asEstablished fails when a volume has something that the established
// provisioner cannot deal with: a finalizer that it does not know, another's name.
func (e *env) asEstablished(pvs ...*corev1.PersistentVolume) {
	e.Helper()
	for _, pv := range pvs {
		now := e.now(pv)
		for _, f := range now.Finalizers {
			if !strings.HasPrefix(f, "kubernetes.io/") {
				e.Errorf("%s has the finalizer %s", pv.Name, f)
			}
		}
		if by := now.Annotations[api.AnnProvisionedBy]; by != withUID.name(e.node(pv)) {
			e.Errorf("%s is provisioned by %q", pv.Name, by)
		}
	}
}

// images fails when the agents do not run an image.
func (e *env) images(want string) {
	e.Helper()
	for _, node := range nodes {
		if got := e.Agent(node).Spec.Containers[0].Image; got != want {
			e.Errorf("on %s runs %s, not %s", node, got, want)
		}
	}
}

// forget takes the journal away from a node, as the page says, for one that may be
// in the discovery directory dir.
func (e *env) forget(node, dir string) {
	e.Helper()
	_, err := e.C.Node(node).Exec(e.Ctx, "sh", "-ec", strings.ReplaceAll(e.Block(page, "rm -rf"), cluster.DisksDir, dir))
	e.Must(err)
}

// The swap of the page and nothing more, and the way back with what it leaves to
// be taken away.
func TestClusterMigratePageShort(t *testing.T) {
	e := begin(t)
	e.uninstall()
	e.install(stranger)
	if out := e.follow("config translate -"); !strings.Contains(out, "kind: AgentConfig") || !strings.Contains(out, "- name: "+diskClass) {
		t.Errorf("the translation is\n%s", out)
	}
	e.follow("provisioner=$IMAGE")
	e.images(cluster.BerthImage)
	e.ready()
	const dir = cluster.BlocksDir // its class is the first by name
	for _, node := range nodes {
		e.Says(node, "agent started", "state=/mnt/local-blocks/.berth")
	}
	e.follow("provisioner=$OLD")
	e.images(stranger)
	for _, node := range nodes {
		e.forget(node, dir)
		if left, err := e.C.Node(node).Exec(e.Ctx, "ls", "-A", cluster.DisksDir, dir); err != nil || strings.Contains(left, ".berth") {
			t.Errorf("in the discovery directories of %s there is\n%s(%v)", node, left, err)
		}
	}
}

// The whole walk of the page with kubectl: both things that are worth adding, the
// swap, the look after it, and the way back.
func TestClusterMigratePage(t *testing.T) {
	e := begin(t)
	e.uninstall()
	e.install(stranger)
	bound, free := e.old("node-1", "page-bound", "ext4", withUID), e.old("node-2", "page-free", "none", withUID)
	e.runs(bound)
	running := e.running()
	for _, node := range nodes { // a journal of another test's would stay where it is
		e.forget(node, cluster.DisksDir)
		e.forget(node, cluster.BlocksDir)
	}

	e.after(func() {
		e.uninstall() // with what the page adds to it
		e.Person("kubectl delete clusterrole,clusterrolebinding berth-label-volumes")
		for _, node := range nodes {
			e.forget(node, cluster.DisksDir)
		}
	})
	e.follow("DirectoryOrCreate")
	e.follow("clusterrolebinding")
	e.follow("provisioner=$IMAGE")
	e.images(cluster.BerthImage)
	e.ready()
	for _, pv := range []*corev1.PersistentVolume{bound, free} {
		e.Says(pvwatch.Node(pv), "agent started", "state="+api.StateDir)
		if now := e.now(pv); now.UID != pv.UID || now.Labels[api.LabelNode] == "" {
			t.Errorf("%s was made anew, or not taken over: labels %v", pv.Name, now.Labels)
		}
	}
	if out := e.follow("proxy/ready", "NODE", "node-1"); !strings.Contains(out, bound.Name) || !strings.Contains(out, "\nok\n") {
		t.Errorf("the look after the swap shows\n%s", out)
	}
	berths := e.Disk("node-1", "page-berths", "ext4", bytes)
	if out := e.follow("grep '^berth_volumes'", "POD", e.Agent("node-1").Name); !strings.Contains(out, `class="`+diskClass+`"`) {
		t.Errorf("the metrics say\n%s", out)
	}

	e.follow("provisioner=$OLD")
	e.images(stranger)
	e.same(bound, free, berths)
	e.asEstablished(bound, free, berths)
	if now := e.running(); now != running {
		t.Errorf("the database was %s, and is %s", running, now)
	}
	// As the established provisioner ends a volume: it deletes the object.
	for _, pv := range []*corev1.PersistentVolume{free, berths} {
		e.Person("kubectl delete pv " + pv.Name)
	}
	e.Must(e.Space.Empty(e.Ctx))
	e.Person("kubectl delete pv " + bound.Name)
}

// The page's way with Helm, for a release with the established chart's values.
func TestClusterMigratePageHelm(t *testing.T) {
	const release = "local-disks" // as in the page
	e := beginWith(t, "app.kubernetes.io/instance="+release)
	e.install(stranger) // its StorageClasses stay
	e.uninstall()
	values := filepath.Join(t.TempDir(), "values.yaml")
	e.Must(os.WriteFile(values, []byte(`classes:
  - {name: local-disks, hostDir: /mnt/disks, fsType: ext4}
  - {name: local-blocks, hostDir: /mnt/blocks, volumeMode: Block, blockCleanerCommand: [/scripts/dd_zero.sh]}
`), 0o644))
	repository, tag, _ := strings.Cut(stranger, ":")
	// The established chart is not to be had here; ours renders what it would.
	_, err := e.C.Helm(e.Ctx, "install", release, filepath.Join("..", "..", "..", "deploy", "helm", "berth"), "--namespace", namespace, "--create-namespace", "--wait",
		"--values", values, "--values", filepath.Join("..", "..", "..", "deploy", "helm", "berth", "compat", "static-provisioner.yaml"),
		"--set", "image.repository="+repository, "--set-string", "image.tag="+tag)
	e.after(func() {
		_, err := e.C.Helm(e.Ctx, "uninstall", release, "--namespace", namespace, "--wait", "--ignore-not-found")
		e.Must(err)
		for _, node := range nodes {
			e.forget(node, cluster.DisksDir)
		}
	})
	e.Must(err)
	bound := e.old("node-1", "helm-bound", "ext4", withUID)
	e.runs(bound)
	running := e.running()

	e.follow("helm upgrade", "--values values.yaml", "--values "+values, "registry.example.com/berth", "localhost/berth,image.tag=dev")
	e.images(cluster.BerthImage)
	e.ready()
	e.same(bound)
	e.follow("helm rollback")
	e.images(stranger)
	e.same(bound)
	e.asEstablished(bound)
	if now := e.running(); now != running {
		t.Errorf("the database was %s, and is %s", running, now)
	}
	e.Must(e.Space.Empty(e.Ctx))
	e.Person("kubectl delete pv " + bound.Name)
}
