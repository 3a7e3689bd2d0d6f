//go:build cluster

package berthtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/pvwatch"
	"github.com/berth-storage/berth/test/cluster/stage"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// deletionDelay is how long the tests' controllers wait for a node.
const deletionDelay = 10 * time.Second

// controller runs Berth's controller on this machine until the test ends, or
// until stop is called. What it says is printed when the test fails.
func (e *env) controller() (stop func()) {
	e.Helper()
	root, err := cluster.FindRoot()
	e.Must(err)
	out, err := os.CreateTemp(e.TempDir(), "controller")
	e.Must(err)
	cmd := exec.Command(filepath.Join(root, "bin", "berth"), "controller", "--kubeconfig", e.C.Kubeconfig(), "--namespace", cluster.BerthNamespace,
		"--storageclass-names", cluster.FastClass, "--pvc-deletion-delay", deletionDelay.String(), "--stale-pv-discovery-interval", "2s",
		"--listen-address", "", "--leader-elect=false") // the cluster's own controller, which only places claims, holds the lease
	cmd.Stdout, cmd.Stderr = out, out
	e.Must(cmd.Start())
	running := true
	stop = func() {
		if !running {
			return
		}
		running = false
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			e.Errorf("ending the controller: %v", err)
		}
		if err := cmd.Wait(); err != nil {
			e.Errorf("the controller has ended: %v", err)
		}
		if data, err := os.ReadFile(out.Name()); e.Failed() {
			e.Logf("controller (%v):\n%s", err, data)
		}
	}
	e.Cleanup(stop)
	e.Until("the controller to lead", func(context.Context) error {
		data, err := os.ReadFile(out.Name())
		if err == nil && !bytes.Contains(data, []byte("looking after the volumes of lost nodes")) {
			err = fmt.Errorf("it has said %q", data)
		}
		return err
	})
	return stop
}

// installController has the chart run the controller, with its own rights, until
// the test ends.
func (e *env) installController() {
	e.Helper()
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stage.Patience)
		defer cancel()
		if err := e.C.InstallBerth(ctx); err != nil {
			e.Error(err)
		}
	})
	e.Must(e.C.InstallBerth(e.Ctx, "--set", "controller.enabled=true,controller.pvcDeletionDelay="+deletionDelay.String()+
		",controller.stalePVDiscoveryInterval=2s,controller.storageClassNames={"+cluster.FastClass+"}"))
}

// killLeader deletes the pod of the controller that leads, and waits until
// another does.
func (e *env) killLeader() {
	e.Helper()
	leader := func(ctx context.Context) (string, error) {
		lease, err := e.C.Client().CoordinationV1().Leases(cluster.BerthNamespace).Get(ctx, "berth-controller", metav1.GetOptions{})
		if err != nil || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
			return "", errors.Join(err, errors.New("nobody leads"))
		}
		return *lease.Spec.HolderIdentity, nil
	}
	first, err := leader(e.Ctx)
	e.Must(err)
	pods, err := e.C.Client().CoreV1().Pods(cluster.BerthNamespace).List(e.Ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=controller"})
	e.Must(err)
	killed := false
	for _, p := range pods.Items {
		if strings.HasPrefix(first, p.Name+"_") {
			e.Must(e.C.Client().CoreV1().Pods(p.Namespace).Delete(e.Ctx, p.Name, metav1.DeleteOptions{}))
			killed = true
		}
	}
	if !killed {
		e.Fatalf("the leader %s is none of %d pods", first, len(pods.Items))
	}
	e.Until("another controller to lead", func(ctx context.Context) error {
		now, err := leader(ctx)
		if err == nil && now == first {
			err = errors.New(first + " leads")
		}
		return err
	})
}

// extraNode adds a node with disks and waits until they are published. At the
// end of the test the node is taken away again.
func (e *env) extraNode(disks ...cluster.Disk) (*cluster.Node, []*corev1.PersistentVolume) {
	e.Helper()
	n, err := e.C.AddNode(e.Ctx, "", disks...)
	e.Must(err)
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stage.Patience)
		defer cancel()
		if nodes, err := e.C.Nodes(ctx); err != nil || !has(nodes, n.Name) {
			return // the test has lost it
		}
		if err := errors.Join(n.Lose(ctx, false), e.deleteNode(ctx, n.Name)); err != nil {
			e.Error(err)
		}
	})
	var pvs []*corev1.PersistentVolume
	for _, d := range disks {
		pvs = append(pvs, e.Available(n.Name, stage.PathOf(d.Name, d.FS), ""))
	}
	return n, pvs
}

func has(nodes []*cluster.Node, name string) bool {
	for _, n := range nodes {
		if n.Name == name {
			return true
		}
	}
	return false
}

func (e *env) deleteNode(ctx context.Context, name string) error {
	err := e.C.Client().CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting node %s: %w", name, err)
	}
	return nil
}

// only keeps new pods off all nodes but one until the test, or the returned
// function, ends it.
func (e *env) only(name string) (end func()) {
	e.Helper()
	cordon := func(unschedulable bool) {
		nodes, err := e.C.Nodes(context.Background())
		if err != nil {
			e.Error(err)
		}
		for _, n := range nodes {
			if n.Name == name {
				continue
			}
			_, err := e.C.Client().CoreV1().Nodes().Patch(context.Background(), n.Name, types.MergePatchType,
				fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, unschedulable), metav1.PatchOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				e.Error(err)
			}
		}
	}
	cordon(true)
	end = func() { cordon(false) }
	e.Cleanup(end)
	return end
}

func (e *env) claim(name string) (*corev1.PersistentVolumeClaim, error) {
	return e.C.Client().CoreV1().PersistentVolumeClaims(e.Space.Name).Get(e.Ctx, name, metav1.GetOptions{})
}

// A node is lost for good. After the delay, which a restart of the controller
// does not begin anew, the StatefulSet's claim is deleted, its pod placed
// elsewhere with a new one, and the lost node's volumes are gone.
func TestClusterNodeLost(t *testing.T) {
	e := begin(t)
	n, pvs := e.extraNode(cluster.Disk{Name: "first", FS: "ext4", Bytes: 256 << 20}, cluster.Disk{Name: "second", FS: "ext4", Bytes: 256 << 20})
	others := e.only(n.Name)
	e.Must(e.Space.CreateSet(e.Ctx, 1, workload.Pod{
		Name:   "db",
		Claims: []workload.Claim{{Name: "data", Class: cluster.FastClass}},
		Script: `echo $POD_UID >/data/a; sync; echo wrote; trap 'exit 0' TERM; while :; do sleep 0.2; done`,
	}))
	_, err := e.Space.WaitSaid(e.Ctx, "db-0", "wrote")
	e.Must(err)
	others()
	before, err := e.Space.Placement(e.Ctx, "db-0")
	e.Must(err)
	old, err := e.claim(before.Claim)
	e.Must(err)

	e.installController()
	e.Must(n.Lose(e.Ctx, false))
	lost := time.Now()
	e.Must(e.deleteNode(e.Ctx, n.Name))
	since := func() (noted string) {
		e.Until("PV "+before.PV+" to say since when its node is gone", func(ctx context.Context) error {
			pv, err := e.C.Client().CoreV1().PersistentVolumes().Get(ctx, before.PV, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if noted = pv.Annotations[api.AnnNodeGoneSince]; noted == "" {
				return errors.New("it does not")
			}
			return nil
		})
		return noted
	}
	noted := since()
	e.killLeader()
	e.Event(lost, "PersistentVolumeClaim", old.Name, api.ReasonNodeGone, before.PV)

	e.Until("claim "+old.Name+" to be deleted", func(context.Context) error {
		now, err := e.claim(old.Name)
		if apierrors.IsNotFound(err) || err == nil && (now.UID != old.UID || now.DeletionTimestamp != nil) {
			return nil
		}
		if err != nil {
			return err
		}
		if again := since(); again != noted {
			t.Errorf("the node was gone since %s, and after a restart since %s", noted, again)
		}
		return errors.New("it is there")
	})
	if took := time.Since(lost); took < deletionDelay-time.Second { // the note has whole seconds
		t.Errorf("the claim was deleted %s after the node's loss, before the delay of %s", took, deletionDelay)
	}
	t.Logf("the claim was deleted %.1f s after the loss", time.Since(lost).Seconds())
	ctx, cancel := context.WithTimeout(e.Ctx, stage.Patience)
	defer cancel()
	e.Must(e.Space.WaitBack(ctx, "db-0", before.UID))
	after, err := e.Space.Placement(e.Ctx, "db-0")
	e.Must(err)
	t.Logf("the pod was back %.1f s after the loss, on %s with %s", time.Since(lost).Seconds(), after.Node, after.PV)
	if after.Node == n.Name || after.PV == before.PV {
		t.Errorf("the pod is on %s with %s, and was on %s with %s", after.Node, after.PV, before.Node, before.PV)
	}
	for _, pv := range pvs {
		e.Absent(n.Name, pv.Spec.Local.Path)
	}
	e.Event(lost, "PersistentVolumeClaim", old.Name, api.ReasonClaimDeleted, before.PV)
	if s, ok := e.PVs.First(lost, func(s pvwatch.Seen) bool { return s.Gone && pvwatch.Node(s.PV) != n.Name && s.PV.Name != after.PV }); ok {
		t.Errorf("%s of a node that lives was deleted", s.PV.Name)
	}
}

// A person deletes the Node object of a node whose kubelet lives. Nothing is
// deleted, however long that lasts, and the pod comes back to its data when the
// kubelet has registered again.
func TestClusterNodeObjectDeletedByHand(t *testing.T) {
	e := begin(t)
	n, pvs := e.extraNode(cluster.Disk{Name: "kept", FS: "ext4", Bytes: 256 << 20}, cluster.Disk{Name: "free", FS: "ext4", Bytes: 256 << 20})
	pv, free := pvs[0], pvs[1]
	e.Must(e.Space.CreateSet(e.Ctx, 1, workload.Pod{
		Name:   "db",
		Claims: []workload.Claim{{Name: "data", Class: cluster.FastClass, PV: pv.Name}},
		Script: `if [ -e /data/a ]; then echo read $(cat /data/a); else echo kept >/data/a; sync; echo wrote; fi
trap 'exit 0' TERM; while :; do sleep 0.2; done`,
	}))
	_, err := e.Space.WaitSaid(e.Ctx, "db-0", "wrote")
	e.Must(err)
	old, err := e.claim("data-db-0")
	e.Must(err)

	e.controller()
	begun := time.Now()
	e.Must(e.deleteNode(e.Ctx, n.Name))
	e.Event(begun, "PersistentVolume", pv.Name, api.ReasonNodeAlive, n.Name)
	e.Event(begun, "PersistentVolumeClaim", old.Name, api.ReasonNodeAlive, n.Name)
	e.Event(begun, "PersistentVolume", free.Name, api.ReasonNodeAlive, n.Name)
	lease, err := e.C.Client().CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(e.Ctx, n.Name, metav1.GetOptions{})
	t.Logf("the kubelet's Lease %.1f s after: %v, %v", time.Since(begun).Seconds(), lease.Spec.RenewTime, err)
	select { // two delays, and twice as long as a Lease counts: by then every clock has run out
	case <-time.After(2*deletionDelay + 2*cluster.NodeLease):
	case <-e.Ctx.Done():
		t.Fatal(e.Ctx.Err())
	}
	lease, err = e.C.Client().CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(e.Ctx, n.Name, metav1.GetOptions{})
	t.Logf("the kubelet's Lease %.1f s after: %v, %v", time.Since(begun).Seconds(), lease.Spec.RenewTime, err)
	now, err := e.claim(old.Name)
	e.Must(err)
	if now.UID != old.UID || now.DeletionTimestamp != nil {
		t.Errorf("the claim is another (%s, was %s) or is being deleted (%v)", now.UID, old.UID, now.DeletionTimestamp)
	}
	for _, pv := range pvs {
		if s, ok := e.PVs.First(begun, func(s pvwatch.Seen) bool {
			return s.PV.Name == pv.Name && (s.Gone || s.PV.DeletionTimestamp != nil)
		}); ok {
			t.Errorf("PV %s was deleted: %v", s.PV.Name, s.PV.DeletionTimestamp)
		}
	}

	e.Must(n.Restart(e.Ctx))
	said, err := e.Space.WaitSaid(e.Ctx, "db-0", "read")
	e.Must(err)
	if said != "kept" {
		t.Errorf("after the node's return the pod read %q", said)
	}
	e.Must(e.Space.Empty(e.Ctx))
	e.Available(n.Name, pv.Spec.Local.Path, pv.UID)
	for _, pv := range pvs {
		name := filepath.Base(pv.Spec.Local.Path)
		e.Until("disk "+name+" to be removed", func(ctx context.Context) error { return n.RemoveDisk(ctx, name) })
		e.Absent(n.Name, pv.Spec.Local.Path)
	}
}
