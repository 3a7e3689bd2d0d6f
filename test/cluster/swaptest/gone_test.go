//go:build cluster

package swaptest

import (
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/stage"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// pull takes a disk out of sight under its users and keeps what is on it.
func (e *env) pull(name string) {
	e.Helper()
	e.Must(e.C.Node("node-1").RemoveDisk(e.Ctx, name, cluster.Force, cluster.KeepData))
}

// plug gives back a disk that was pulled.
func (e *env) plug(name string) {
	e.Helper()
	_, _, err := e.C.Node("node-1").AddDisk(e.Ctx, cluster.Disk{Name: name, FS: "ext4", Bytes: bytes})
	e.Must(err)
}

// A volume from before Berth whose disk goes away: one that is free is withdrawn,
// one that is a claim's is reported and stays, one that is released is not taken
// for wiped because nothing is there.
func TestClusterOldVolumeLosesItsDisk(t *testing.T) {
	e := begin(t)
	e.uninstall()
	free, bound, released := e.old("node-1", "gone-free", "ext4", withUID), e.old("node-1", "gone-bound", "ext4", withUID), e.old("node-1", "gone-released", "ext4", withUID)
	e.install(cluster.BerthImage)
	e.use(bound, released)
	begun := time.Now()

	e.pull("gone-free")
	e.Absent("node-1", free.Spec.Local.Path)
	e.plug("gone-free")
	e.Available("node-1", free.Spec.Local.Path, free.UID)

	for _, pv := range []*corev1.PersistentVolume{bound, released} {
		e.pull(pv.Spec.Local.Path[len(cluster.DisksDir+"/"):])
		e.Event(begun, "PersistentVolume", pv.Name, "DiskGone", "")
		e.Event(begun, "PersistentVolumeClaim", pv.Name, "DiskGone", "")
	}
	e.same(bound, released)
	e.Must(e.Space.DropClaim(e.Ctx, released.Name))
	e.released(released)
	e.Disk("node-1", "gone-next", "ext4", bytes) // an event later than the release
	if now := e.now(released); now.UID != released.UID || now.Status.Phase != corev1.VolumeReleased {
		t.Errorf("the released volume without a disk is %s (UID %s)", now.Status.Phase, now.UID)
	}
	e.plug("gone-released")
	again := e.Available("node-1", released.Spec.Local.Path, released.UID)

	e.plug("gone-bound")
	e.Must(e.Space.CreatePod(e.Ctx, workload.Pod{Name: "reader", Script: "cat /" + bound.Name + "/a", Claims: stage.Writer(bound).Claims}))
	if got := e.FinishPod("reader"); got != "secret" {
		t.Errorf("from the disk that came back, its claim's pod read %q", got)
	}
	e.same(bound)
	e.Must(e.Space.Empty(e.Ctx))
	e.NothingLeft(again)
}

// use has a pod leave something secret on volumes, which it claims, and end.
func (e *env) use(pvs ...*corev1.PersistentVolume) {
	e.Helper()
	e.RunPod(stage.Writer(pvs...))
	e.NoPods()
}

// Volumes that people delete while no agent runs, with a tenant's data on them:
// one from before Berth and one of Berth's, whose tenants the agent had seen, and
// two of Berth's whose tenants came and went meanwhile. None is handed out again.
func TestClusterDeletedWhileAway(t *testing.T) {
	e := begin(t)
	e.uninstall()
	// A new name each time: the disk stays held back, also if it is made anew.
	stamp := time.Now().Format("-150405")
	old := e.old("node-1", "away-old"+stamp, "ext4", withUID)
	e.install(cluster.BerthImage)
	own := e.Disk("node-1", "away-own"+stamp, "ext4", bytes)
	dir, device := e.Disk("node-1", "away-dir"+stamp, "ext4", bytes), e.Disk("node-1", "away-device"+stamp, "none", bytes)
	e.use(old, own)

	back := e.away()
	e.Must(e.Space.Empty(e.Ctx))
	e.Release(dir, device)
	all := []*corev1.PersistentVolume{old, own, dir, device}
	for _, pv := range all {
		e.released(pv)
		_, err := e.C.Kubectl(e.Ctx, "delete", "pv", pv.Name)
		e.Must(err)
	}
	back()
	for _, pv := range all {
		e.HeldBack("node-1", pv)
	}
	if out := e.follow("grep '^berth_volumes'", "POD", e.Agent("node-1").Name); !strings.Contains(out, `class="local-blocks",state="Quarantined"} `) {
		t.Errorf("the metrics say\n%s", out)
	}
	e.Disk("node-1", "away-next", "ext4", bytes)
	for _, pv := range all {
		e.Absent("node-1", pv.Spec.Local.Path)
	}
	e.wipeByCommand(dir)
}

// wipeByCommand has a person give up what is on a volume that is held back.
func (e *env) wipeByCommand(pv *corev1.PersistentVolume) {
	e.Helper()
	agent := e.Agent("node-1").Name
	list, err := e.C.Kubectl(e.Ctx, "-n", namespace, "exec", agent, "--", "berth", "volume", "list")
	e.Must(err)
	m := regexp.MustCompile(`(?m)^([0-9a-f]{32})  Quarantined  ` + pv.Spec.StorageClassName + "/" + path.Base(pv.Spec.Local.Path) + "$").FindStringSubmatch(list)
	if m == nil {
		e.Fatalf("%s is not in\n%s", pv.Spec.Local.Path, list)
	}
	_, err = e.C.Kubectl(e.Ctx, "-n", namespace, "exec", agent, "--", "berth", "volume", "wipe", m[1], "--yes")
	e.Must(err)
	e.NothingLeft(e.Available("node-1", pv.Spec.Local.Path, pv.UID))
}
