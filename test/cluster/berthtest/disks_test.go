//go:build cluster

package berthtest

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/stage"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// What is no volume is reported on the node, once, and stops nothing.
func TestClusterStrayEntries(t *testing.T) {
	e := begin(t)
	begun, node := time.Now(), e.C.Node("node-1")
	restarts := e.Restarts("node-1")
	stray := map[string]string{ // by name: how it is made
		"stray-file":   "touch stray-file",
		"stray-fifo":   "mkfifo stray-fifo",
		"stray-link":   "ln -s /dev/nothing-here stray-link",
		"stray-else":   "ln -s /etc/passwd stray-else",
		"stray-dir":    "mkdir stray-dir",
		"stray name":   "touch 'stray name'",
		"stray\\nline": "touch 'stray\nline'",
		"stray-socket": `python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("stray-socket")' 2>/dev/null ||
perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => "stray-socket", Listen => 1) or die'`,
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stage.Patience)
		defer cancel()
		if _, err := node.Exec(ctx, "sh", "-c", "cd /mnt/disks && rm -rf stray*"); err != nil {
			t.Error(err)
		}
	})
	for _, how := range stray {
		_, err := node.Exec(e.Ctx, "sh", "-c", "cd /mnt/disks && "+how)
		e.Must(err)
	}
	for name := range stray {
		e.Event(begun, "Node", "node-1", "EntryRefused", `"/mnt/disks/`+name+`"`)
	}
	// A good disk among them, with a name that is unusual.
	pv := e.Disk("node-1", "a disk with spaces", "ext4", 256<<20)
	got := e.RunPod(workload.Pod{Name: "writer", Script: "echo ok >/data/a && cat /data/a",
		Claims: []workload.Claim{{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}}})
	if got != "ok" {
		t.Errorf("the pod said %q", got)
	}
	e.AgentsReady()
	if now := e.Restarts("node-1"); now != restarts {
		t.Errorf("the agent has restarted: %s, was %s", now, restarts)
	}
	e.Must(e.Space.Empty(e.Ctx))
	e.Available("node-1", pv.Spec.Local.Path, pv.UID)
}

// The volume of a disk that goes is withdrawn, and published when it is back.
func TestClusterDiskRemovedWhileAvailable(t *testing.T) {
	e := begin(t)
	for _, fs := range []string{"ext4", "none"} {
		name := "goes-" + fs
		pv := e.Disk("node-2", name, fs, 256<<20)
		e.Must(e.C.Node("node-2").RemoveDisk(e.Ctx, name, cluster.KeepData))
		e.Absent("node-2", pv.Spec.Local.Path)
		_, _, err := e.C.Node("node-2").AddDisk(e.Ctx, cluster.Disk{Name: name, FS: fs, Bytes: 256 << 20})
		e.Must(err)
		e.Available("node-2", pv.Spec.Local.Path, pv.UID)
	}
}

// A disk that goes while a claim has it is reported on the volume, the claim and
// the pod, and stands on the volume as long as it is gone; when it is back, that
// is told too, and its data is the claim's.
func TestClusterDiskGoneWhileBound(t *testing.T) {
	e := begin(t)
	begun := time.Now()
	pv := e.Disk("node-1", "pulled", "ext4", 256<<20)
	path := pv.Spec.Local.Path
	claim := workload.Claim{Name: "data", Class: pv.Spec.StorageClassName, PV: pv.Name}
	e.Must(e.Space.Create(e.Ctx, workload.Pod{Name: "writer", Script: "echo kept >/data/a; sync; echo written; exec sleep 1000", Claims: []workload.Claim{claim}}))
	_, err := e.Space.WaitSaid(e.Ctx, "writer", "written")
	e.Must(err)
	e.Must(e.C.Node("node-1").RemoveDisk(e.Ctx, "pulled", cluster.Force, cluster.KeepData))
	e.Event(begun, "PersistentVolume", pv.Name, "DiskGone", "")
	e.Event(begun, "PersistentVolumeClaim", "data", "DiskGone", "")
	e.Event(begun, "Pod", "writer", "DiskGone", path[strings.LastIndex(path, "/")+1:])
	state := func(want string) func(*corev1.PersistentVolume) bool {
		return func(pv *corev1.PersistentVolume) bool {
			return pv.Annotations[api.AnnState] == want && (pv.Annotations[api.AnnReason] == "") == (want == "")
		}
	}
	if now := e.Await("node-1", path, "annotated", state(api.ReasonDiskGone)); now.UID != pv.UID {
		t.Error("the PersistentVolume was made anew")
	}
	e.Must(e.Space.DeletePod(e.Ctx, "writer"))
	e.NoPods()
	_, _, err = e.C.Node("node-1").AddDisk(e.Ctx, cluster.Disk{Name: "pulled", FS: "ext4", Bytes: 256 << 20})
	e.Must(err)
	e.Event(begun, "PersistentVolumeClaim", "data", "DiskBack", "")
	e.Await("node-1", path, "not annotated any more", state(""))
	e.Must(e.Space.CreatePod(e.Ctx, workload.Pod{Name: "reader", Script: "cat /data/a", Claims: []workload.Claim{claim}}))
	if got := e.FinishPod("reader"); got != "kept" {
		t.Errorf("from the disk that came back, a pod read %q", got)
	}
}

// A volume's root belongs to the pod's group while the pod has it, and to
// nobody's after the wipe.
func TestClusterFSGroup(t *testing.T) {
	e := begin(t)
	for _, fs := range []string{"ext4", "xfs", "btrfs"} {
		pv := e.Disk("node-1", "group-"+fs, fs, 512<<20)
		claim := workload.Claim{Name: "data-" + fs, Class: pv.Spec.StorageClassName, PV: pv.Name}
		first := workload.Pod{Name: "first-" + fs, FSGroup: 2000, Script: "echo first >/" + claim.Name + "/a", Claims: []workload.Claim{claim}}
		e.RunPod(first)
		second := workload.Pod{Name: "second-" + fs, FSGroup: 2000, Claims: []workload.Claim{claim},
			Script: "cd /" + claim.Name + " && echo second >>a && cat a && stat -c %g ."}
		e.Must(e.Space.CreatePod(e.Ctx, second))
		if got := e.FinishPod(second.Name); got != "first\nsecond\n2000" {
			t.Errorf("%s: the second pod of the group said %q", fs, got)
		}
		e.Must(e.Space.Empty(e.Ctx))
		again := e.Available("node-1", pv.Spec.Local.Path, pv.UID)
		claim.PV = again.Name
		root := e.RunPod(workload.Pod{Name: "root-" + fs, Script: "stat -c '%u %g %a' /" + claim.Name, Claims: []workload.Claim{claim}})
		if root != "0 0 755" {
			t.Errorf("%s: after the wipe the volume's root has owner, group and mode %q", fs, root)
		}
		e.Must(e.Space.Empty(e.Ctx))
	}
}
