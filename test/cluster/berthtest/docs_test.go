//go:build cluster

package berthtest

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/test/cluster/stage"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// What docs/troubleshooting.md says leads from a quarantined volume back to the
// claim that had it, with its data, and from there to a new and empty one.
func TestClusterTroubleshootingPage(t *testing.T) {
	e := begin(t)
	pv := e.Disk("node-1", "lost", "ext4", 256<<20)
	claim := workload.Claim{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}
	e.RunPod(workload.Pod{Name: "writer", Script: "echo secret >/data/a; sync", Claims: []workload.Claim{claim}})
	e.forceAway(pv)
	e.HeldBack("node-1", pv)

	var id string
	look := e.Block("troubleshooting.md", "get events")
	e.Until("the event to name the volume", func(context.Context) error {
		out := e.Person(look, "NODE", "node-1", "NAME", e.Available("node-2", stage.PathOf("disk-xfs", "xfs"), "").Name)
		m := regexp.MustCompile(`volume ([0-9a-f]{32}) .*` + pv.Name).FindStringSubmatch(out)
		if m == nil {
			return fmt.Errorf("it shows\n%s", out)
		}
		id = m[1]
		return nil
	})
	agent := []string{"POD", e.Agent("node-1").Name, "ID", id}
	if out := e.Person(e.Block("troubleshooting.md", "berth volume list"), agent...); !strings.Contains(out, id+"  Quarantined") || !strings.Contains(out, e.Space.Name+"/data") {
		t.Errorf("the volume is not in\n%s", out)
	}

	e.Must(e.Space.Empty(e.Ctx)) // the claim, which is Lost
	e.Person(e.Block("troubleshooting.md", "republish ID --yes"), agent...)
	back := e.Available("node-1", pv.Spec.Local.Path, pv.UID)
	if c := back.Spec.ClaimRef; c == nil || c.Namespace != e.Space.Name || c.Name != "data" {
		t.Fatalf("the volume is for %+v", c)
	}
	// Another claim that wants it by name does not get it.
	thief := workload.Claim{Name: "thief", Class: claim.Class, PV: back.Name}
	e.Must(e.Space.CreateClaims(e.Ctx, thief))
	claim.PV = ""
	if got := e.RunPod(workload.Pod{Name: "reader", Script: "cat /data/a", Claims: []workload.Claim{claim}}); got != "secret" {
		t.Errorf("the claim that was made again read %q", got)
	}

	e.forceAway(back)
	e.Until("the volume to be held back again", func(context.Context) error {
		if out := e.Person(e.Block("troubleshooting.md", "berth volume list"), agent...); !strings.Contains(out, id+"  Quarantined") {
			return fmt.Errorf("it shows\n%s", out)
		}
		return nil
	})
	e.Must(e.Space.Empty(e.Ctx))
	begun := time.Now()
	e.Person(e.Block("troubleshooting.md", "wipe ID --yes"), agent...)
	e.Event(begun, "Node", "node-1", "Commanded", id)
	e.NothingLeft(e.Available("node-1", pv.Spec.Local.Path, back.UID))
}

// forceAway takes a PersistentVolume away, finalizers and all.
func (e *env) forceAway(pv *corev1.PersistentVolume) {
	e.Helper()
	pvs := e.C.Client().CoreV1().PersistentVolumes()
	e.Must(pvs.Delete(e.Ctx, pv.Name, metav1.DeleteOptions{}))
	_, err := pvs.Patch(e.Ctx, pv.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	e.Must(err)
}

// The commands of docs/install.md for a disk lead to a volume, and those for
// uninstalling take a volume away that no agent looks after. Installing itself
// is what every test of this package begins with; the names in that part of the
// page are held to the chart by a test of package deploy.
func TestClusterInstallPage(t *testing.T) {
	e := begin(t)
	e.Person(e.Block("install.md", "rollout status"))
	e.Person(e.Block("install.md", "pod-security"))

	e.Disk("node-1", "by-hand", "none", 256<<20)
	node := e.C.Node("node-1")
	target, err := node.Exec(e.Ctx, "readlink", stage.PathOf("by-hand", "none"))
	e.Must(err)
	const fstab = "/tmp/fstab-of-the-page"
	commands := strings.NewReplacer("/dev/nvme1n1", strings.TrimSpace(target), "/etc/fstab", fstab, "mount /mnt", "mount -T "+fstab+" /mnt").
		Replace(e.Block("install.md", "mkfs.ext4"))
	out, err := node.Exec(e.Ctx, "sh", "-e", "-c", "set -x\n"+commands+"\necho made $uuid")
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
	pv := e.Available("node-1", "/mnt/disks/"+uuid, "")
	if out := e.Person(e.Block("install.md", "get pv -l")); !strings.Contains(out, pv.Name) {
		t.Errorf("%s is not in\n%s", pv.Name, out)
	}
	e.Absent("node-1", stage.PathOf("by-hand", "none")) // in use now

	orphan := pv.DeepCopy()
	orphan.ObjectMeta = metav1.ObjectMeta{Name: "orphan", Finalizers: pv.Finalizers}
	_, err = e.C.Client().CoreV1().PersistentVolumes().Create(e.Ctx, orphan, metav1.CreateOptions{})
	e.Must(err)
	e.Person(e.Block("install.md", "kubectl patch pv"), "NAME", "orphan")
	e.Until("the orphan to be gone", func(ctx context.Context) error {
		if _, err := e.C.Client().CoreV1().PersistentVolumes().Get(ctx, "orphan", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
}
