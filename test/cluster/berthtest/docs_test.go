//go:build cluster

package berthtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/test/cluster/workload"
)

// blocks returns the commands of a page's fenced blocks that have one of the
// given words in them.
func (e *env) blocks(page string, word string) string {
	e.Helper()
	data, err := os.ReadFile("../../../docs/" + page)
	e.must(err)
	var found []string
	for i, block := range strings.Split(string(data), "```") {
		if i%2 == 0 || !strings.Contains(block, word) {
			continue
		}
		_, commands, _ := strings.Cut(block, "\n") // the first line names the language
		found = append(found, commands)
	}
	if len(found) != 1 {
		e.Fatalf("docs/%s has %d blocks with %q", page, len(found), word)
	}
	return found[0]
}

// person runs commands as somebody does who has read them in a page.
func (e *env) person(commands string, values ...string) string {
	e.Helper()
	commands = strings.NewReplacer(values...).Replace(commands)
	cmd := exec.CommandContext(e.ctx, "sh", "-e", "-c", commands)
	cmd.Dir = "../../.."
	cmd.Env = append(os.Environ(), "KUBECONFIG="+e.c.Kubeconfig(), "PATH="+e.c.Dir()+"/bin:"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		e.Fatalf("%s%v:\n%s", commands, err, out)
	}
	return string(out)
}

// What docs/troubleshooting.md says leads from a quarantined volume back to one
// that is handed out.
func TestClusterTroubleshootingPage(t *testing.T) {
	e := begin(t)
	pv := e.disk("node-1", "lost", "ext4", 256<<20)
	claim := workload.Claim{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}
	e.runPod(workload.Pod{Name: "writer", Script: "echo secret >/data/a; sync", Claims: []workload.Claim{claim}})
	pvs := e.c.Client().CoreV1().PersistentVolumes()
	e.must(pvs.Delete(e.ctx, pv.Name, metav1.DeleteOptions{}))
	_, err := pvs.Patch(e.ctx, pv.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	e.must(err)
	e.heldBack("node-1", pv)
	e.must(e.space.Empty(e.ctx))

	var id string
	look := e.blocks("troubleshooting.md", "get events")
	e.until("the event to name the volume", func(context.Context) error {
		out := e.person(look, "NODE", "node-1", "NAME", e.available("node-2", pathOf("disk-xfs", "xfs"), "").Name)
		m := regexp.MustCompile(`volume ([0-9a-f]{32}) .*` + pv.Name).FindStringSubmatch(out)
		if m == nil {
			return fmt.Errorf("it shows\n%s", out)
		}
		id = m[1]
		return nil
	})
	_, err = e.c.Node("node-1").Exec(e.ctx, "rm", pathOf("lost", "ext4")+"/a")
	e.must(err)
	e.person(e.blocks("troubleshooting.md", "rm /var/lib/berth"), "POD", e.agent("node-1").Name, "ID", id)
	e.nothingLeft(e.available("node-1", pv.Spec.Local.Path, pv.UID))
}

// The commands of docs/install.md for a disk lead to a volume, and those for
// uninstalling take a volume away that no agent looks after. Installing itself
// is what every test of this package begins with; the names in that part of the
// page are held to the chart by a test of package deploy.
func TestClusterInstallPage(t *testing.T) {
	e := begin(t)
	e.person(e.blocks("install.md", "rollout status"))
	e.person(e.blocks("install.md", "pod-security"))

	e.disk("node-1", "by-hand", "none", 256<<20)
	node := e.c.Node("node-1")
	target, err := node.Exec(e.ctx, "readlink", pathOf("by-hand", "none"))
	e.must(err)
	const fstab = "/tmp/fstab-of-the-page"
	commands := strings.NewReplacer("/dev/nvme1n1", strings.TrimSpace(target), "/etc/fstab", fstab, "mount /mnt", "mount -T "+fstab+" /mnt").
		Replace(e.blocks("install.md", "mkfs.ext4"))
	out, err := node.Exec(e.ctx, "sh", "-e", "-c", "set -x\n"+commands+"\necho made $uuid")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	uuid := strings.TrimSpace(out[strings.LastIndex(out, "made ")+len("made "):])
	t.Cleanup(func() {
		_, err := node.Exec(context.Background(), "sh", "-e", "-c", fmt.Sprintf("cd /mnt/disks; umount %s; chattr -i %[1]s; rmdir %[1]s; rm %s", uuid, fstab))
		if err != nil {
			t.Error(err)
		}
	})
	pv := e.available("node-1", "/mnt/disks/"+uuid, "")
	if out := e.person(e.blocks("install.md", "get pv -l")); !strings.Contains(out, pv.Name) {
		t.Errorf("%s is not in\n%s", pv.Name, out)
	}
	e.absent("node-1", pathOf("by-hand", "none")) // in use now

	orphan := pv.DeepCopy()
	orphan.ObjectMeta = metav1.ObjectMeta{Name: "orphan", Finalizers: pv.Finalizers}
	_, err = e.c.Client().CoreV1().PersistentVolumes().Create(e.ctx, orphan, metav1.CreateOptions{})
	e.must(err)
	e.person(e.blocks("install.md", "kubectl patch pv"), "NAME", "orphan")
	e.until("the orphan to be gone", func(ctx context.Context) error {
		if _, err := e.c.Client().CoreV1().PersistentVolumes().Get(ctx, "orphan", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
}
